"""The worker, killed, stopped and joined by others while students post."""

import asyncio

import pytest
from tests.faults import plays
from tests.faults.load import Habits
from tests.faults.scenario import Scenario

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


# Its successor need not wait for the end of its session.
STATIC = {"QUIZSTREAM_CONSUMER_INSTANCE": "worker-1"}


@pytest.mark.gate
@pytest.mark.faults(broken="worker killed during COPY, before and after the commit", settings=STATIC)
async def test_a_worker_that_crashes_about_a_commit_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await plays.crash_worker(scenario, ("worker_during_copy", "worker_before_commit", "worker_after_commit"))


@pytest.mark.faults(broken="worker killed after poll, in COPY, about the commit and in the rebalance", settings=STATIC)
async def test_a_worker_that_crashes_at_any_point_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await plays.crash_worker(scenario)


@pytest.mark.faults(broken="worker killed at random moments")
async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(Habits(events_each=10_000))
    worker = scenario.deployment.worker
    for _ in range(8):
        await scenario.acked(scenario.chance.randint(50, 600))
        await worker.kill()
        scenario.did("worker killed")
        await worker.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.gate
@pytest.mark.faults(broken="worker stopped inside COPY past its session, another takes over, the first goes on")
async def test_a_zombie_neither_blocks_its_successor_nor_writes_afterwards(scenario: Scenario) -> None:
    await plays.zombie(scenario)


@pytest.mark.faults(broken="workers join and leave every 2 s, in order or killed")
async def test_workers_that_come_and_go_lose_and_double_nothing(scenario: Scenario) -> None:
    deployment = scenario.deployment
    for _ in range(3):
        deployment.add_worker()
    await scenario.start(workers=False)
    await deployment.worker.start()
    scenario.begin_load(Habits(events_each=20_000))
    for _ in range(10):
        worker = scenario.chance.choice(deployment.workers)
        if not worker.is_running:
            await worker.spawn()
            scenario.did("a worker joins")
        elif scenario.chance.random() < 0.5:
            await worker.kill()
            scenario.did("a worker is killed")
        else:
            await worker.terminate()
            scenario.did("a worker leaves")
        await asyncio.sleep(2)  # the pace of the fault, not a wait for anything
    if not deployment.worker.is_running:
        await deployment.worker.spawn()
        scenario.did("a worker joins")
    await scenario.healed(seconds=20)
    await scenario.finish()
