"""Kafka killed, paused and cut off while students post."""

import asyncio

import pytest
from tests.faults import plays
from tests.faults.load import Habits
from tests.faults.scenario import Scenario

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)


@pytest.mark.faults(broken="broker killed and started again")
async def test_a_killed_broker_loses_nothing_that_was_acknowledged(scenario: Scenario) -> None:
    await plays.kill_broker(scenario)


@pytest.mark.faults(broken="broker killed and started again, 4 times")
async def test_a_broker_killed_again_and_again_loses_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for _ in range(4):
        await scenario.acked(scenario.chance.randint(100, 600))
        await scenario.deployment.stage.kafka.kill()
        scenario.did("broker killed")
        await scenario.deployment.stage.kafka.start()
        await scenario.healed(seconds=20)
    await scenario.finish()


@pytest.mark.parametrize("seconds", [5, 60])
@pytest.mark.faults(broken="broker stopped for 5 s, for 60 s")
async def test_a_broker_that_stands_still_doubles_nothing(scenario: Scenario, seconds: int) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(400)
    scenario.deployment.stage.kafka.pause()
    scenario.did(f"broker stopped for {seconds} s")
    await asyncio.sleep(seconds)  # the fault lasts that long
    scenario.deployment.stage.kafka.resume()
    await scenario.healed(seconds=10 if seconds == 5 else 20)
    await scenario.acked(300)
    await scenario.finish()


@pytest.mark.parametrize("name", ["gateway-kafka", "worker-kafka"])
@pytest.mark.faults(broken="link of one process to the broker: slow, throttled, half open, cut, reset")
async def test_a_bad_link_to_the_broker_is_survived(scenario: Scenario, name: str) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    link = scenario.deployment.stage.links[name]
    link.delay_seconds = 0.05
    scenario.did("50 ms more")
    await scenario.acked(300)
    link.delay_seconds, link.bytes_per_second = 0.0, 200_000
    scenario.did("200 kB/s")
    await scenario.acked(300)
    link.heal()
    for fault, act in (("half open", link.half_open), ("cut", link.cut)):
        act()
        scenario.did(f"{name} {fault}")
        if name == "gateway-kafka":
            await scenario.outage_answered()
        else:
            await asyncio.sleep(8)  # the fault lasts that long: more than the worker's session
        link.heal()
        await scenario.healed(seconds=20)
    for _ in range(5):
        link.reset()
        scenario.did("connections reset")
        await scenario.acked(100)
    await scenario.healed()
    await scenario.finish()
