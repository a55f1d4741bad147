"""The log as the worker sees it: partitions come and go, and each is read from where the store says."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
)
from aiokafka.structs import TopicPartition as KafkaPartition

from quizstream.runtime import crash_points
from quizstream.runtime.kafka import ended_by_us_only
from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.worker.batch import TopicPartition
from quizstream.worker.decode import LogRecord

log: Final = structlog.get_logger(__name__)

FETCH_BYTES: Final = 4 * 2**20  # of one answer of a broker, which the client keeps; one larger record is sent whole
PARTITION_FETCH_BYTES: Final = 2**20
METADATA_MAX_AGE_MS: Final = 10_000  # after it, partitions that the topic has gained are noticed


class Log(ConsumerRebalanceListener):
    """A member of the consumer group, which reads nothing until it is told from where.

    The client calls the listener from a task of its own and only logs what it raises, so the listener does no more
    than pause the partitions and raise a flag; the loop asks for `unplaced` and calls `place`.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._unplaced: set[TopicPartition] = set()

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        """Forget partitions: a flush under way is fenced by the offset rows."""
        self._unplaced -= {TopicPartition(*partition) for partition in revoked}

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Hold partitions until they are placed."""
        crash_points.reached("worker_during_rebalance")
        partitions = list(assigned)
        self._unplaced = {TopicPartition(*partition) for partition in partitions}
        with suppress(IllegalStateError):  # assigned anew already: this is called again
            self._consumer.pause(*partitions)

    def take_unplaced(self) -> set[TopicPartition]:
        """Give the partitions that wait for `place`, once."""
        unplaced, self._unplaced = self._unplaced, set()
        return unplaced

    @property
    def has_unplaced(self) -> bool:
        """Whether partitions wait for `place`."""
        return bool(self._unplaced)

    def put_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Let partitions wait for `place` again, as far as they are still ours."""
        self._unplaced |= set(partitions) & self.assigned()

    def assigned(self) -> set[TopicPartition]:
        """Give the partitions that are ours now."""
        return {TopicPartition(*partition) for partition in self._consumer.assignment()}

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Give the first offset of each partition's log and the one after its last.

        Raises:
            KafkaError: the brokers do not answer in time.

        """
        return await log_bounds(self._consumer, partitions)

    def place(self, partition: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on, if it is still ours."""
        key = KafkaPartition(*partition)
        with suppress(IllegalStateError):
            self._consumer.seek(key, offset)
            self._consumer.resume(key)

    async def poll(self, max_records: int, wait_seconds: float) -> Mapping[TopicPartition, list[LogRecord]]:
        """Give what has arrived, consecutive per partition as far as the log is; nothing after `wait_seconds`.

        Raises:
            KafkaError: the brokers or the group are in trouble; the client goes on trying.

        """
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(wait_seconds * 1000), max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # the client looked before the partition was placed
        except (OffsetOutOfRangeError, RecordTooLargeError) as error:
            log.warning("fetch_refused", error=type(error).__name__)
            self.put_back(self.assigned())
            return {}
        return {TopicPartition(*partition): records for partition, records in fetched.items()}

    async def ping(self) -> None:
        """Ask the brokers for an answer.

        Raises:
            KafkaError: there is none.

        """
        with ended_by_us_only():
            await self._consumer.topics()

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Tell the group how far the store is, for displays of lag; give what it took.

        A failure changes nothing: the store decides.
        """
        ours = self.assigned()
        offsets = {KafkaPartition(*key): offset for key, offset in next_offsets.items() if key in ours}
        if not offsets:
            return {}
        try:
            async with asyncio.timeout(5):  # `wait_for` of Python 3.11 may swallow the end of the loop
                await self._consumer.commit(offsets)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.warning("group_commit_failed", error=type(error).__name__)
            return {}
        return {TopicPartition(*key): offset for key, offset in offsets.items()}


async def log_bounds(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Give the first offset of each partition's log and the one after its last.

    Raises:
        KafkaError: the brokers do not answer in time, or do not know a partition.

    """
    keys = [KafkaPartition(*partition) for partition in partitions]
    first = await consumer.beginning_offsets(keys)
    end = await consumer.end_offsets(keys)
    return {TopicPartition(*key): (first[key], end[key]) for key in keys}


@asynccontextmanager
async def open_log(
    access: KafkaAccess, topics: Iterable[str], *, group: str, instance: str | None = None
) -> AsyncIterator[Log]:
    """Join the group; leave it on the way out.

    Raises:
        KafkaError: no broker answers.

    """
    consumer = AIOKafkaConsumer(
        **access.client_options(),
        group_id=group,
        group_instance_id=instance,
        client_id="quizstream-worker",
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=1_000,
        max_poll_interval_ms=300_000,
        rebalance_timeout_ms=6_000,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )
    opened = Log(consumer)
    try:
        await consumer.start()
        consumer.subscribe(topics=list(topics), listener=opened)
        yield opened
    finally:
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), timeout=10)
