"""Topics of a single broker, and what an independent consumer sees of them: plain aiokafka, nothing of ours."""

import json
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.waiting import eventually

from quizstream.contracts.topics import planned_topics
from quizstream.runtime.kafka import TopicShape, ensure_topics
from quizstream.runtime.kafka_access import KafkaAccess

PARTITIONS = 3


class Published(NamedTuple):
    """A record as it lies in the topic; `timestamp_type` 1 is LogAppendTime."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    timestamp_type: int

    def member(self, name: str) -> object:
        members: dict[str, object] = json.loads(self.value)
        return members[name]


async def make_topics(bootstrap_servers: str, topic: str) -> list[str]:
    """Make both topics as a single broker can have them; give the names of those made."""
    planned = planned_topics(topic, PARTITIONS, allow_single_replica=True)
    return await ensure_topics(KafkaAccess(bootstrap_servers), [TopicShape(*shape) for shape in planned])


async def read_topic(bootstrap_servers: str, topic: str) -> list[Published]:
    """Give all records of a topic that `make_topics` made, in order for each partition."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=32 * 2**20,
    )
    await consumer.start()
    try:

        async def all_assigned() -> list[TopicPartition]:
            assigned: set[TopicPartition] = consumer.assignment()
            return sorted(assigned) if len(assigned) == PARTITIONS else []

        partitions = await eventually(all_assigned)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        found: list[Published] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [
                    Published(
                        record.partition,
                        record.offset,
                        record.key,
                        record.value,
                        dict(record.headers),
                        record.timestamp_type,
                    )
                    for record in records
                ]
        return found
    finally:
        await consumer.stop()
