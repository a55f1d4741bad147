"""What only a long time shows."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from tests.faults import bounds, bulk
from tests.faults.bounds import MIB, grown
from tests.faults.load import Habits
from tests.faults.mishaps import MISHAPS, by_chance
from tests.faults.observe import log_ends
from tests.faults.scenario import Broken, Scenario
from tests.faults.services import Deployment
from tests.waiting import scaled

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

_MINUTES = float(os.environ.get("QUIZSTREAM_SOAK_MINUTES") or 0)
# About 100 events a second: the ledger of half an hour stays below 1 GiB.
_LASTS = """
SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM pg_stat_activity
WHERE application_name = 'quizstream-worker' AND datname = current_database()
"""
_UNHURRIED = Habits(events_each=10_000_000, longest_pause_seconds=1.2)


@pytest.mark.skipif(not _MINUTES, reason="a soak is asked for by QUIZSTREAM_SOAK_MINUTES")
@pytest.mark.faults(broken=f"whatever chance brings, every 3 s, for {_MINUTES:g} minutes")
async def test_memory_and_descriptors_stay_flat_over_a_long_random_schedule(scenario: Scenario) -> None:
    """Followed are those processes that nobody kills: all that befalls Kafka, PostgreSQL and the links befalls them."""
    await by_chance(scenario, MISHAPS, 60 * _MINUTES, _UNHURRIED)
    deployment = scenario.deployment
    followed = (deployment.gateway, deployment.worker, deployment.reader)
    differences = []
    for service in followed:
        samples = scenario.watch.samples[service.label]
        assert {sample.pid for sample in samples} == {service.pid}, f"{service.label} was to live through it all"
        differences += grown(service.label, samples, scenario.watch.descriptor_margin(service))
        third = samples[len(samples) // 3].resident_bytes
        scenario.remarks.append(
            f"{service.label}: {third // MIB} MiB and {samples[len(samples) // 3].descriptors} descriptors after a "
            f"third, {samples[-1].resident_bytes // MIB} MiB and {samples[-1].descriptors} at the end"
        )
    if differences:
        raise Broken("\n".join((*differences, scenario.tell())))


_BACKLOG_EVENTS = int(os.environ.get("QUIZSTREAM_BACKLOG_EVENTS") or 1_000_000)
_EVENTS_EACH = 2_000
_LONGEST_TRANSACTION_SECONDS = 10.0


@pytest.mark.faults(
    broken=f"worker away while {_BACKLOG_EVENTS:,} events are taken; students go on while it catches up"
)
async def test_a_large_backlog_is_drained_while_students_go_on(scenario: Scenario) -> None:
    backlog = bulk.Backlog(_BACKLOG_EVENTS // _EVENTS_EACH, _EVENTS_EACH)
    deployment = scenario.deployment
    await scenario.start(workers=False)
    await deployment.gateway.until_ready()
    began = time.monotonic()
    await bulk.send(deployment, backlog)
    ends = await log_ends(deployment)
    scenario.other_events = backlog.events
    scenario.did("worker away")
    loaded, began = time.monotonic() - began, time.monotonic()
    scenario.begin_load(Habits(events_each=10_000_000))
    await deployment.worker.spawn()
    async with longest_transaction(deployment) as longest:
        await scenario.until_stored(ends, 600)
    drained = time.monotonic() - began
    rows = await bulk.largest_transaction(deployment)
    scenario.remarks += [
        f"{backlog.events} events taken in {loaded:.0f} s, stored in {drained:.0f} s",
        f"transactions of at most {rows} rows and {longest.seconds:.1f} s",
    ]
    if rows > int(bounds.SETTINGS["QUIZSTREAM_FLUSH_ROWS"]):
        scenario.found(f"unbounded: a transaction of {rows} rows")
    if longest.seconds > scaled(_LONGEST_TRANSACTION_SECONDS):
        scenario.found(f"unbounded: a transaction of {longest.seconds:.1f} s")
    await scenario.healed()
    scenario.extra_differences += await bulk.differences(deployment, backlog)
    await scenario.finish()


@dataclass
class Longest:
    """The longest transaction of a worker that was seen."""

    seconds: float = 0.0


@asynccontextmanager
async def longest_transaction(deployment: Deployment) -> AsyncIterator[Longest]:
    """Look several times a second how long the worker's transactions last, while the body runs."""
    longest = Longest()
    session = await asyncpg.connect(deployment.database_url)
    task = asyncio.create_task(_look(session, longest))
    try:
        yield longest
    finally:
        task.cancel()
        await asyncio.wait((task,))
        session.terminate()


async def _look(session: "asyncpg.Connection[asyncpg.Record]", longest: Longest) -> None:
    while True:
        lasts = await session.fetchval(_LASTS)
        longest.seconds = max(longest.seconds, float(lasts or 0))
        await asyncio.sleep(0.2)
