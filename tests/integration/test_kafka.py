"""The publisher on a real Kafka: the same promises as on the log in memory, and what only a broker can do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.topics import PARTITIONS, make_topics, read_topic
from tests.waiting import eventually

from quizstream.contracts.errors import TryLater
from quizstream.contracts.metrics import GATEWAY_METRICS
from quizstream.contracts.records import Record
from quizstream.contracts.topics import planned_topics, quarantine_topic, weaknesses
from quizstream.gateway.measures import Measures
from quizstream.gateway.publish import Publisher, Shipment
from quizstream.local import kafka as local_kafka
from quizstream.local import ports
from quizstream.runtime.kafka import (
    KafkaUnreachable,
    TopicNotMade,
    TopicShape,
    describe_topic,
    ensure_topics,
    producer,
)
from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.runtime.telemetry import Meters

HEADERS = [("ce_id", b"an-id")]


def records(*values: bytes) -> Sequence[Record]:
    return [Record(b"7", value, HEADERS) for value in values]


@asynccontextmanager
async def publishing(bootstrap_servers: str, stuck_after_seconds: float = 10.0) -> AsyncIterator[Publisher]:
    connect = partial(producer, KafkaAccess(bootstrap_servers), client_id="test")
    publisher = Publisher(connect, Measures(Meters(GATEWAY_METRICS)), stuck_after_seconds=stuck_after_seconds)
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    try:
        yield publisher
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def publish(publisher: Publisher, topic: str, *values: bytes, partition: int = 0, within: float = 4.0) -> bool:
    deadline = asyncio.get_running_loop().time() + within
    try:
        await publisher.publish([Shipment(topic, partition, records(*values))], deadline=deadline)
    except TryLater:
        return False
    return True


async def limit_messages(bootstrap_servers: str, topic: str, max_bytes: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(max_bytes)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()

    async def is_known() -> bool:  # to the broker, some time after the controller has taken it
        described = await describe_topic(KafkaAccess(bootstrap_servers), topic)
        return described is not None and described.configs["max.message.bytes"] == str(max_bytes)

    await eventually(is_known)


async def test_topics_are_made_fit_once_however_many_make_them(kafka_bootstrap_servers: str, topic_name: str) -> None:
    made = await asyncio.gather(*(make_topics(kafka_bootstrap_servers, topic_name) for _ in range(3)))
    assert sorted(name for names in made for name in names) == [topic_name, quarantine_topic(topic_name)]
    for name in (topic_name, quarantine_topic(topic_name)):
        described = await describe_topic(KafkaAccess(kafka_bootstrap_servers), name)
        assert described is not None
        assert weaknesses(described, PARTITIONS, allow_single_replica=True) == []


async def test_a_topic_that_the_brokers_cannot_hold_is_not_made(kafka_bootstrap_servers: str, topic_name: str) -> None:
    replicated = [TopicShape(*shape)._replace(replication_factor=9) for shape in planned_topics(topic_name, 1)]
    with pytest.raises(TopicNotMade, match="ReplicationFactor"):
        await ensure_topics(KafkaAccess(kafka_bootstrap_servers), replicated)
    assert await describe_topic(KafkaAccess(kafka_bootstrap_servers), topic_name) is None


async def test_without_a_broker_the_cause_is_named() -> None:
    nowhere = KafkaAccess(f"127.0.0.1:{ports.any_free()}")
    with pytest.raises(KafkaUnreachable):
        await describe_topic(nowhere, "events")
    with pytest.raises(KafkaUnreachable):
        async with producer(nowhere, client_id="test"):
            pass


async def test_large_requests_and_the_largest_event_arrive_whole_and_in_order(
    kafka_bootstrap_servers: str, topic_name: str
) -> None:
    await make_topics(kafka_bootstrap_servers, topic_name)
    many = [b"%06d" % number + b"x" * 400 for number in range(10_000)]
    large = b"y" * (16 * 2**20)
    async with publishing(kafka_bootstrap_servers) as publisher:
        requests = (many, [b"before", large, b"after"], [b"last"])
        outcomes = await asyncio.gather(*(publish(publisher, topic_name, *values, within=30) for values in requests))
        assert all(outcomes)
    values = [record.value for record in await read_topic(kafka_bootstrap_servers, topic_name)]
    assert values == [*many, b"before", large, b"after", b"last"]


async def test_a_batch_that_the_broker_refuses_poisons_nothing(kafka_bootstrap_servers: str, topic_name: str) -> None:
    await make_topics(kafka_bootstrap_servers, topic_name)
    await limit_messages(kafka_bootstrap_servers, topic_name, 10_000)
    async with publishing(kafka_bootstrap_servers) as publisher:
        assert await publish(publisher, topic_name, b"first")
        bystanders = [publish(publisher, topic_name, b"%d" % number, partition=1) for number in range(20)]
        refused, *others = await asyncio.gather(publish(publisher, topic_name, b"x" * 100_000), *bystanders)
        assert not refused
        assert all(others)
        assert await publish(publisher, topic_name, b"next")
    found = await read_topic(kafka_bootstrap_servers, topic_name)
    assert [record.value for record in found if record.partition == 0] == [b"first", b"next"]
    assert {record.value for record in found if record.partition == 1} == {b"%d" % number for number in range(20)}


async def test_a_paused_and_a_killed_broker_heal_without_a_restart(tmp_path: Path, topic_name: str) -> None:
    async with local_kafka.broker(tmp_path / "kafka", tmp_path / "logs", ports.any_free()) as engine:
        await make_topics(engine.address, topic_name)
        async with publishing(engine.address, stuck_after_seconds=1.0) as publisher:
            assert await publish(publisher, topic_name, b"before")

            engine.pause()
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await asyncio.gather(
                *(publish(publisher, topic_name, b"paused %d" % number, within=1.5) for number in range(50))
            )
            assert not any(outcomes)
            assert loop.time() - began < 3.0
            assert not await publish(publisher, topic_name, b"stuck behind", within=0.5)
            engine.resume()

            async def publishes() -> bool:
                return await publish(publisher, topic_name, b"resumed", within=1.0)

            await eventually(publishes, seconds=15)
            await publisher.check()

            await engine.kill()
            assert not await publish(publisher, topic_name, b"killed", within=1.0)
            with pytest.raises(KafkaUnreachable):
                await publisher.check()
            await engine.start()

            async def publishes_again() -> bool:
                return await publish(publisher, topic_name, b"restarted", within=1.0)

            await eventually(publishes_again, seconds=15)
        values = [record.value for record in await read_topic(engine.address, topic_name)]
    assert {b"before", b"resumed", b"restarted"} <= set(values)
    assert b"stuck behind" not in values  # its deadline passed before a producer was given it
