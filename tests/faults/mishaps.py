"""Faults by chance: each happens, and is over when the call returns.

Of several gateways or workers the first is spared what ends or stops a process, so that its memory and descriptors can
be followed over a long run; what befalls Kafka, PostgreSQL and the links befalls it too.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
from tests.faults.ledger import REPLAYED_AS
from tests.faults.links import Link
from tests.faults.load import Habits
from tests.faults.paging import reading
from tests.faults.plays import CRASH_POINTS, END_SESSIONS
from tests.faults.scenario import Scenario
from tests.faults.services import Service
from tests.faults.visitors import break_off
from tests.waiting import eventually

GATEWAY_CRASH_POINTS = ("gateway_before_produce", "gateway_after_ack")
REPLAY_CRASH_POINTS = ("replay_before_publish", "replay_after_publish")

_PAUSE_SECONDS = 3.0
_ENDLESS = Habits(events_each=10_000_000)

Mishap = Callable[[Scenario], Awaitable[None]]


async def by_chance(scenario: Scenario, mishaps: Sequence[Mishap], seconds: float, habits: Habits = _ENDLESS) -> None:
    """Break things for so long, one after the other, in a deployment of two gateways and three workers."""
    scenario.deployment.add_gateway()
    for _ in range(2):
        scenario.deployment.add_worker()
    await scenario.start()
    scenario.begin_load(habits)
    await scenario.acked(100)
    ends_at = time.monotonic() + seconds
    async with reading(scenario, habits.students, pause_seconds=1.0):
        while time.monotonic() < ends_at:
            await scenario.acked(100)
            mishap = scenario.chance.choice(mishaps)
            scenario.did(mishap.__name__.replace("_", " "))
            await mishap(scenario)
            # A consumer of aiokafka may stand still after a rebalance; the worker replaces it after 15 s.
            await scenario.healed(seconds=30, everywhere=True)
            await asyncio.sleep(scenario.chance.uniform(0, _PAUSE_SECONDS))  # the pace of the schedule
    await scenario.finish()


async def worker_killed(scenario: Scenario) -> None:
    await _killed(_some_worker(scenario))


async def worker_crashed(scenario: Scenario) -> None:
    await _crashed(scenario, _some_worker(scenario), CRASH_POINTS)


async def worker_told_to_end(scenario: Scenario) -> None:
    await _told_to_end(_some_worker(scenario))


async def worker_away(scenario: Scenario) -> None:
    worker = _some_worker(scenario)
    await worker.terminate()
    await _while_it_lasts(scenario, 8)
    await worker.spawn()


async def worker_stopped(scenario: Scenario) -> None:
    await _stopped(scenario, _some_worker(scenario), 12)


async def gateway_killed(scenario: Scenario) -> None:
    await _killed(_some_gateway(scenario))


async def gateway_crashed(scenario: Scenario) -> None:
    await _crashed(scenario, _some_gateway(scenario), GATEWAY_CRASH_POINTS)


async def gateway_killed_while_it_publishes(scenario: Scenario) -> None:
    scenario.deployment.stage.kafka.pause()
    await _while_it_lasts(scenario, 2)
    await _killed(_some_gateway(scenario))
    scenario.deployment.stage.kafka.resume()


async def gateway_told_to_end(scenario: Scenario) -> None:
    await _told_to_end(_some_gateway(scenario))


async def gateway_stopped(scenario: Scenario) -> None:
    await _stopped(scenario, _some_gateway(scenario), 8)


async def reader_killed(scenario: Scenario) -> None:
    await _killed(scenario.deployment.reader)


async def clients_broke_off(scenario: Scenario) -> None:
    async with break_off(scenario.deployment.gateways, scenario.chance, 60):
        await scenario.acked(50)


async def store_killed(scenario: Scenario) -> None:
    await scenario.deployment.stage.postgres.kill()
    await _while_it_lasts(scenario, 5)
    await scenario.deployment.stage.postgres.start()


async def store_stopped(scenario: Scenario) -> None:
    scenario.deployment.stage.postgres.pause()
    await _while_it_lasts(scenario, 8)
    scenario.deployment.stage.postgres.resume()


async def store_read_only(scenario: Scenario) -> None:
    database = scenario.deployment.database
    async with _session(scenario) as session:
        await session.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await session.execute(END_SESSIONS)
        await _while_it_lasts(scenario, 6)
        await session.execute("SET default_transaction_read_only = off")
        await session.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await session.execute(END_SESSIONS)


async def table_locked(scenario: Scenario) -> None:
    async with _session(scenario) as session, session.transaction():
        await session.execute("LOCK TABLE quiz_submission_events IN ACCESS EXCLUSIVE MODE")
        await _while_it_lasts(scenario, 8)


async def sessions_terminated(scenario: Scenario) -> None:
    async with _session(scenario) as session:
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'quizstream-%'"
        )


async def broker_killed(scenario: Scenario) -> None:
    await scenario.deployment.stage.kafka.kill()
    await _while_it_lasts(scenario, 5)
    await scenario.deployment.stage.kafka.start()


async def broker_stopped(scenario: Scenario) -> None:
    scenario.deployment.stage.kafka.pause()
    await _while_it_lasts(scenario, 15)
    scenario.deployment.stage.kafka.resume()


async def link_cut(scenario: Scenario) -> None:
    link = _some_link(scenario)
    link.cut()
    await _while_it_lasts(scenario, 8)
    link.heal()


async def link_half_open(scenario: Scenario) -> None:
    link = _some_link(scenario)
    link.half_open()
    await _while_it_lasts(scenario, 12)
    link.heal()


async def link_slow(scenario: Scenario) -> None:
    link = _some_link(scenario)
    link.delay_seconds = scenario.chance.uniform(0.01, 0.1)
    await _while_it_lasts(scenario, 5)
    link.heal()


async def link_throttled(scenario: Scenario) -> None:
    link = _some_link(scenario)
    link.bytes_per_second = scenario.chance.uniform(200_000, 1_000_000)
    await _while_it_lasts(scenario, 5)
    link.heal()


async def connections_reset(scenario: Scenario) -> None:
    for link in scenario.deployment.stage.links.values():
        link.reset()


async def quarantine_replayed(scenario: Scenario) -> None:
    """What has no type gets one; the command is killed on its way, where there is something to replay, and repeated."""
    await replayed(scenario, crash_at=scenario.chance.choice(REPLAY_CRASH_POINTS))
    await replayed(scenario)


async def replayed(scenario: Scenario, crash_at: str = "") -> None:
    """Replay the whole quarantine; without a crash point it succeeds."""
    command = ("quarantine", "replay", "--set-event-type", REPLAYED_AS)
    status = await scenario.deployment.run(*command, crash_at=crash_at)
    assert status in ((0, -9) if crash_at else (0,)), f"replay ended with {status}"


async def _while_it_lasts(scenario: Scenario, longest_seconds: float) -> None:
    await asyncio.sleep(scenario.chance.uniform(0, longest_seconds))


@asynccontextmanager
async def _session(scenario: Scenario) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        yield session
    finally:
        await session.close()


def _some_link(scenario: Scenario) -> Link:
    links = scenario.deployment.stage.links
    return links[scenario.chance.choice(sorted(links))]


def _some_worker(scenario: Scenario) -> Service:
    return _victim(scenario.chance, scenario.deployment.workers)


def _some_gateway(scenario: Scenario) -> Service:
    return _victim(scenario.chance, scenario.deployment.gateways)


def _victim(chance: random.Random, services: Sequence[Service]) -> Service:
    return chance.choice(services[1:] or services)


async def _killed(service: Service) -> None:
    await service.kill()
    await service.spawn()


async def _told_to_end(service: Service) -> None:
    await service.terminate()
    await service.spawn()


async def _stopped(scenario: Scenario, service: Service, longest_seconds: float) -> None:
    service.pause()
    await _while_it_lasts(scenario, longest_seconds)
    service.resume()
    service.expected = True


async def _crashed(scenario: Scenario, service: Service, points: Sequence[str]) -> None:
    """It ends at one of these points, or by our hand where chance sends nothing its way."""
    await service.kill()
    await service.spawn(crash_at=f"{scenario.chance.choice(points)}:SIGKILL:1")

    async def ended() -> bool:
        return not service.is_running

    try:
        await eventually(ended, 8)
    except AssertionError:
        await service.kill()
    await service.spawn()


MISHAPS: Sequence[Mishap] = (
    worker_killed,
    worker_crashed,
    worker_told_to_end,
    worker_away,
    worker_stopped,
    gateway_killed,
    gateway_crashed,
    gateway_killed_while_it_publishes,
    gateway_told_to_end,
    gateway_stopped,
    clients_broke_off,
    store_killed,
    store_stopped,
    store_read_only,
    table_locked,
    sessions_terminated,
    broker_killed,
    broker_stopped,
    link_cut,
    link_half_open,
    link_slow,
    link_throttled,
    connections_reset,
    quarantine_replayed,
)
