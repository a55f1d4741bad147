"""Records that the store refuses, and repetitions: what it takes no fault to break."""

import pytest
from aiokafka import AIOKafkaProducer
from tests.faults import plays
from tests.faults.load import Habits
from tests.faults.scenario import Scenario

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.faults(broken="records that are undecodable, of another schema, or refused by the server, alone and many")
async def test_poison_goes_to_quarantine_and_harms_no_other_event(scenario: Scenario) -> None:
    await plays.poison(scenario)


@pytest.mark.faults(broken="a third of the answers lost, the batches sent again, alone and with newer events")
async def test_what_is_sent_again_is_stored_once(scenario: Scenario) -> None:
    await plays.repeat(scenario)


@pytest.mark.faults(broken="1,500 records in a row that cannot be stored, more than a transaction isolates")
async def test_a_batch_of_nothing_but_poison_is_passed_in_bounded_steps(scenario: Scenario) -> None:
    await scenario.start(workers=False)
    await scenario.deployment.gateway.until_ready()
    async with AIOKafkaProducer(bootstrap_servers=scenario.deployment.stage.bootstrap_servers, acks="all") as producer:
        await plays.publish_poison(scenario, producer, 1_500)
    await scenario.deployment.worker.start()
    await scenario.caught_up()
    scenario.begin_load(Habits(events_each=20_000))
    await scenario.acked(200)
    await scenario.healed()
    await scenario.finish()
