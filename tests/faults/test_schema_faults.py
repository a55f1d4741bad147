"""Months, migrations and retention at work on the tables that students' events go into."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from tests.acceptance.system import run
from tests.faults import plays
from tests.faults.ledger import Content, Element
from tests.faults.load import Habits
from tests.faults.mutants import Mutant, bred
from tests.faults.operating import page
from tests.faults.scenario import Scenario

from quizstream.worker.months import make_months, month_of, months_ahead, partition_name
from quizstream.worker.retention import remove_expired

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)
Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
RETAINED_MONTHS = 2
INSTALLED_MONTHS_AGO = 8
A_COLUMN_MORE = """
ALTER TABLE quiz_submission_events ADD COLUMN campus text NOT NULL DEFAULT 'main';
CREATE INDEX quiz_submission_events_by_campus ON quiz_submission_events (campus, received_at);
ALTER TABLE topic_offsets ADD COLUMN campus text NOT NULL DEFAULT 'main';
"""


@asynccontextmanager
async def connected(scenario: Scenario) -> AsyncIterator[Session]:
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        yield session
    finally:
        await session.close()


def at(submission: int, instant: datetime, number: int) -> Element:
    stamp = (instant + timedelta(milliseconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Element(Content(submission, "page_blurred", stamp, f'{{"marker":"{submission}-{number}"}}'))


@pytest.mark.faults(broken="no partition for this month and the next, before the first event and in mid-run")
async def test_a_month_that_is_missing_at_midnight_of_the_1st_is_made_and_nothing_quarantined(
    scenario: Scenario,
) -> None:
    now = datetime.now(UTC)
    midnight = month_of(now, 1)
    await scenario.start()
    await scenario.deployment.worker.until_ready()
    async with connected(scenario) as session:
        await _drop(session, [month for month in months_ahead(now) if month >= month_of(now)])
        scenario.did("this month and all to come dropped")
        scenario.begin_load(LONG)
        await scenario.acked(200)
        await scenario.healed()
        await _drop(session, [month for month in months_ahead(now) if month >= midnight])
        scenario.did("the months to come dropped under load")
    for number in range(60):  # pages whose clocks run ahead of the turn of the month
        submission = 1_000 + number % 6
        await page(scenario, submission).deliver(
            [at(submission, midnight, 100 * (number - 30) + of) for of in range(3)]
        )
    await scenario.healed()
    await scenario.finish()
    async with connected(scenario) as session:
        assert await session.fetchval(f"SELECT count(*) FROM {partition_name(midnight)}")


@pytest.mark.faults(broken="migrate run again and again, a migration that adds columns, months made by three at once")
async def test_migrations_under_load_lose_and_double_nothing(scenario: Scenario, tmp_path: Path) -> None:
    deployment = scenario.deployment
    services = bred(Mutant("a later version", "", "", ()), tmp_path)
    (services / "quizstream" / "worker" / "migrations" / "0999_campus.sql").write_text(A_COLUMN_MORE)
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(300)
    later = {**deployment.worker.environment, "PYTHONPATH": str(services)}
    now = datetime.now(UTC)
    for version in (deployment.worker.environment, later, later):
        async with connected(scenario) as session:
            await _drop(session, [month for month in months_ahead(now) if month > month_of(now, 2)])
        await asyncio.gather(*(run("migrate", environment=version) for _ in range(2)), _make_months(scenario))
        scenario.did("migrated by two, and months made, at once")
        await scenario.healed()
        async with connected(scenario) as session:
            await session.execute(plays.END_SESSIONS)
        await scenario.acked(200)
        await scenario.healed()
    async with connected(scenario) as session:
        assert await session.fetchval("SELECT count(*) FROM quiz_submission_events WHERE campus = 'main'")
        assert await session.fetchval(f"SELECT to_regclass('{partition_name(month_of(now, 12))}')")
    await scenario.finish()


@pytest.mark.faults(broken="months dropped by retention while events stamped in them arrive, one drop held up for 3 s")
async def test_retention_that_drops_a_month_keeps_the_events_that_arrive_for_it(scenario: Scenario) -> None:
    async with connected(scenario) as session:
        await _install(session, datetime.now(UTC))
    await scenario.start()
    scenario.begin_load(LONG)
    months = [month_of(datetime.now(UTC), -ago) for ago in range(RETAINED_MONTHS + 1, INSTALLED_MONTHS_AGO)]
    arriving = asyncio.create_task(_arrive(scenario, months))
    try:
        await scenario.acked(100)
        for held_up in (False, True, False):
            async with connected(scenario) as session:
                await make_months(session, months)
            await _retain(scenario, held_up_seconds=3 if held_up else 0)
            scenario.did("retention applied")
            await scenario.acked(100)
            await scenario.healed()
    finally:
        arriving.cancel()
        await asyncio.wait({arriving})
    await scenario.finish()


async def _drop(session: Session, months: list[datetime]) -> None:
    async with session.transaction():
        for month in months:
            await session.execute(f"DROP TABLE IF EXISTS {partition_name(month)}")


async def _make_months(scenario: Scenario) -> None:
    async with connected(scenario) as session:
        await make_months(session, months_ahead(datetime.now(UTC)))


async def _install(session: Session, now: datetime) -> None:
    """Give the store the months of an installation that is older than the retention."""
    began = month_of(now, -INSTALLED_MONTHS_AGO)
    await session.execute("DROP TABLE quiz_submission_events_first")
    await session.execute(
        "CREATE TABLE quiz_submission_events_first PARTITION OF quiz_submission_events "
        f"FOR VALUES FROM (MINVALUE) TO ('{began:%Y-%m-%d} 00:00:00+00')"
    )
    await make_months(session, [month_of(began, later) for later in range(INSTALLED_MONTHS_AGO)])


async def _arrive(scenario: Scenario, months: list[datetime]) -> None:
    """Pages of a wrong clock: each of their events belongs into a month that is being dropped."""
    pages = [page(scenario, 1_000 + number) for number in range(len(months))]
    for number in range(100_000):
        for one, month in zip(pages, months, strict=True):
            await one.deliver([at(one.submission, month, 2 * number + of) for of in range(2)])


async def _retain(scenario: Scenario, *, held_up_seconds: float) -> None:
    """Apply retention, for a while behind somebody who looks at other months: a detach hangs between its two steps."""
    deployment = scenario.deployment
    async with connected(scenario) as session, session.transaction():
        if held_up_seconds:
            await session.fetch("SELECT FROM quiz_submission_events WHERE occurred_at > '2100-01-01'")
        retaining = asyncio.create_task(remove_expired(deployment.database_url, datetime.now(UTC), RETAINED_MONTHS))
        await asyncio.sleep(held_up_seconds)  # the fault lasts that long
    await retaining
