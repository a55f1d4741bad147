"""Three brokers, three replicas, of which two must have what is acknowledged."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.faults.load import Habits
from tests.faults.scenario import Scenario
from tests.waiting import eventually

from quizstream.local.processes import Engine

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)


@pytest.mark.gate
@pytest.mark.faults(broken="the broker that leads a partition killed")
async def test_the_loss_of_a_leader_loses_nothing(replicated_scenario: Scenario) -> None:
    scenario = replicated_scenario
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(150)
    leader = await _leader(scenario)
    await leader.kill()
    scenario.did("leader killed")
    await scenario.healed(seconds=20)
    await scenario.acked(150)
    await leader.start()
    await scenario.acked(150)
    await scenario.finish()


@pytest.mark.faults(broken="two of three brokers killed")
async def test_without_a_quorum_of_replicas_nothing_is_acknowledged(replicated_scenario: Scenario) -> None:
    scenario = replicated_scenario
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(300)
    killed = list(scenario.deployment.stage.brokers[1:])
    for broker in killed:
        await broker.kill()
    scenario.did("two brokers killed")
    await scenario.outage_answered()
    acknowledged = scenario.ledger.acked_events
    await scenario.outage_answered()
    assert scenario.ledger.acked_events == acknowledged
    for broker in killed:
        await broker.start()
    await scenario.healed(seconds=30)
    await scenario.acked(300)
    await scenario.finish()


async def _leader(scenario: Scenario) -> Engine:
    """The broker that leads partition 0."""
    deployment = scenario.deployment
    consumer = AIOKafkaConsumer(deployment.topic, bootstrap_servers=deployment.stage.bootstrap_servers)
    await consumer.start()
    try:

        async def known() -> int:
            partitions = consumer._client.cluster.available_partitions_for_topic(deployment.topic)
            assert partitions
            partition = TopicPartition(deployment.topic, min(partitions))
            leader: int = consumer._client.cluster.leader_for_partition(partition)
            assert leader >= 0
            return leader

        number = await eventually(known)
    finally:
        await consumer.stop()
    return deployment.stage.brokers[number - 1]
