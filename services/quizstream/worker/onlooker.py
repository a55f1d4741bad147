"""The log as somebody sees it who takes no part in the group: on connections of its own."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as KafkaPartition

from quizstream.runtime.kafka import ended_by_us_only, start
from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.worker.batch import TopicPartition
from quizstream.worker.decode import LogRecord
from quizstream.worker.log import log_bounds

ASK_SECONDS: Final = 10.0
# A log may go on with nothing that a consumer is given (marks of foreign transactions).
RECORD_SECONDS: Final = 4.0
CLIENT_ID: Final = "quizstream-onlooker"


class Onlooker:
    """Reads what is asked for and nothing else."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Give the first offset of each partition's log and the one after its last.

        Raises:
            KafkaError: the brokers do not answer, or do not know a partition.

        """
        return await log_bounds(self._consumer, partitions)

    async def records_at(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, LogRecord]:
        """Give the first record from each of these offsets on, as far as there is one.

        Raises:
            KafkaError: the brokers do not answer.

        """
        keys = {KafkaPartition(*partition): offset for partition, offset in offsets.items()}
        self._consumer.assign(list(keys))
        for key, offset in keys.items():
            self._consumer.seek(key, offset)
        deadline = asyncio.get_running_loop().time() + RECORD_SECONDS
        found: dict[TopicPartition, LogRecord] = {}
        for key in keys:
            left_ms = max(0, round(1000 * (deadline - asyncio.get_running_loop().time())))
            for records in (await self._consumer.getmany(key, timeout_ms=left_ms, max_records=1)).values():
                found[TopicPartition(*key)] = records[0]
        return found


@asynccontextmanager
async def onlooker(access: KafkaAccess) -> AsyncIterator[Onlooker]:
    """Give an onlooker for `ASK_SECONDS`.

    Raises:
        KafkaError, TimeoutError: the brokers do not answer in time.

    """
    # The least that a broker gives is one batch: 900 kB, or one larger record.
    async with _open(access, None) as consumer:
        yield Onlooker(consumer)


async def committed_offsets(
    access: KafkaAccess, group: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Give what the group has committed, which is never more than what is stored; 0 where that is nothing.

    Raises:
        KafkaError, TimeoutError: the brokers do not answer in time.

    """
    async with _open(access, group) as consumer:
        return {partition: await consumer.committed(KafkaPartition(*partition)) or 0 for partition in partitions}


@asynccontextmanager
async def _open(access: KafkaAccess, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **access.client_options(),
        client_id=CLIENT_ID,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=1,
    )
    with ended_by_us_only():
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await start(consumer)
                yield consumer
        finally:
            with suppress(KafkaError, TimeoutError), ended_by_us_only():
                await asyncio.wait_for(consumer.stop(), timeout=ASK_SECONDS)
