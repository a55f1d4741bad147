"""All at once, and whatever chance brings."""

import asyncio
import os
import time

import pytest
from tests.faults.load import Habits
from tests.faults.mishaps import MISHAPS
from tests.faults.scenario import Scenario
from tests.faults.services import Service

from quizstream.local.processes import Engine

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

_PAUSE_SECONDS = 3.0


@pytest.mark.faults(broken="broker, server and all processes killed at once, started again in any order, twice")
async def test_a_deployment_that_loses_its_power_comes_back_with_everything(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(Habits(events_each=20_000))
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


@pytest.mark.faults(broken="whatever chance brings, every 3 s")
async def test_a_random_schedule_is_survived(scenario: Scenario) -> None:
    """QUIZSTREAM_SOAK_MINUTES tells how long; one minute where nothing does."""
    scenario.deployment.add_worker()
    await scenario.start()
    scenario.begin_load(Habits(events_each=10_000_000))
    ends_at = time.monotonic() + 60 * float(os.environ.get("QUIZSTREAM_SOAK_MINUTES") or 1)
    while time.monotonic() < ends_at:
        await scenario.acked(100)
        mishap = scenario.chance.choice(MISHAPS)
        scenario.did(mishap.__name__.replace("_", " "))
        await mishap(scenario)
        await scenario.healed(seconds=20)
        await asyncio.sleep(scenario.chance.uniform(0, _PAUSE_SECONDS))  # the pace of the schedule
    await scenario.finish()
