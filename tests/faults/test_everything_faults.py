"""All at once, and whatever chance brings."""

import asyncio

import pytest
from tests.faults.load import Habits
from tests.faults.mishaps import MISHAPS, REPLAY_CRASH_POINTS, by_chance, reader_killed, replayed
from tests.faults.paging import reading
from tests.faults.scenario import Scenario
from tests.faults.services import Service

from quizstream.local.processes import Engine

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)


@pytest.mark.faults(broken="broker, server and all processes killed at once, started again in any order, twice")
async def test_a_deployment_that_loses_its_power_comes_back_with_everything(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    deployment = scenario.deployment
    for _ in range(2):
        await scenario.acked(500)
        dead: list[Service | Engine] = [*deployment.services, *deployment.stage.engines]
        await asyncio.gather(*(one.kill() for one in dead))
        scenario.did("everything killed")
        scenario.chance.shuffle(dead)
        for one in dead:
            await (one.spawn() if isinstance(one, Service) else one.start())
            scenario.note(f"started {one.name if isinstance(one, Service) else one.program.name}")
        for service in deployment.services:
            if not service.is_running:  # as an orchestrator would: a gateway waits for Kafka for a minute only
                await service.spawn()
        await scenario.healed(seconds=20)
    await scenario.finish()


@pytest.mark.faults(broken="whatever chance brings, every 3 s; two gateways, three workers, pages read meanwhile")
async def test_a_random_schedule_is_survived(scenario: Scenario) -> None:
    await by_chance(scenario, (*MISHAPS, reader_killed), 60)


@pytest.mark.faults(broken="worker, reader and gateway killed in turn while somebody reads logs page by page")
async def test_pages_of_a_growing_log_neither_repeat_nor_skip(scenario: Scenario) -> None:
    await scenario.start()
    habits = Habits(events_each=1_000_000)
    scenario.begin_load(habits)
    await scenario.acked(100)
    async with reading(scenario, habits.students, pause_seconds=0.1):
        for service in 3 * scenario.deployment.services:
            await scenario.acked(100)
            await service.kill()
            scenario.did(f"{service.label} killed")
            await service.spawn()
            await scenario.healed()
    assert sum(read.whole and len(read.ids) > 100 for read in scenario.reads) >= 10, (
        "some logs of more than a page were read to their end"
    )
    scenario.remarks.append(f"{len(scenario.reads)} logs read while they grew")
    await scenario.finish()


@pytest.mark.faults(broken="a replay of the quarantine killed at its crash points, worker and gateway killed meanwhile")
async def test_a_replay_that_is_killed_and_repeated_stores_everything_once(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for point in REPLAY_CRASH_POINTS:
        await scenario.acked(400)
        await replayed(scenario, crash_at=point)
        scenario.did(f"replay: crash at {point}")
        both = asyncio.gather(replayed(scenario), replayed(scenario))
        await scenario.deployment.worker.kill()
        await scenario.deployment.gateway.kill()
        scenario.did("worker and gateway killed while two replay")
        await asyncio.gather(scenario.deployment.worker.spawn(), scenario.deployment.gateway.spawn())
        await both
        await scenario.healed()
    await scenario.until_posted()
    await scenario.caught_up()
    await replayed(scenario)
    scenario.did("replay of all that is left")
    await scenario.caught_up()
    figures = await scenario.finish()
    assert figures.settled > 10
