"""What is in the log and not in the store, whether or not anybody reads it."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import asyncpg
import structlog

from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.runtime.postgres import UNREACHABLE, connection, load_statements
from quizstream.worker.batch import TopicPartition
from quizstream.worker.onlooker import ASK_SECONDS, committed_offsets, onlooker

_SQL: Final = load_statements("quizstream.worker", "sql/store.sql")

log: Final = structlog.get_logger(__name__)


class Unstored(NamedTuple):
    """The first record of a partition that is not stored, and its LogAppendTime."""

    offset: int
    appended_at_ms: int


class Backlog:
    """Compares log and store; while the store is away nobody writes to it, so what it last said still holds."""

    def __init__(self, database_url: str, access: KafkaAccess, group: str) -> None:
        self._database_url = database_url
        self._access = access
        self._group = group
        self._stored: dict[TopicPartition, int] = {}
        self._known: Mapping[TopicPartition, Unstored] = {}

    async def find(
        self, partitions: Collection[TopicPartition], written: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, Unstored]:
        """Give the first record that is not stored, of those partitions that have one.

        `written` is how far this worker has written, for when the store cannot say it. A record is read only where the
        store has moved since it was asked last.

        Raises:
            KafkaError, TimeoutError, OSError: Kafka does not answer in time.

        """
        await self._ask_store(partitions, written)
        async with onlooker(self._access) as looking:
            bounds = await looking.bounds(partitions)
            first = {
                partition: max(self._stored[partition], begin)
                for partition, (begin, end) in bounds.items()
                if max(self._stored[partition], begin) < end
            }
            known = {
                partition: found
                for partition, found in self._known.items()
                if partition in first and first[partition] == found.offset
            }
            unread = {partition: offset for partition, offset in first.items() if partition not in known}
            read = await looking.records_at(unread) if unread else {}
        self._known = known | {partition: Unstored(unread[partition], one.timestamp) for partition, one in read.items()}
        return self._known

    async def _ask_store(self, partitions: Collection[TopicPartition], written: Mapping[TopicPartition, int]) -> None:
        try:
            found = await stored_offsets(self._database_url, partitions, application_name="quizstream-backlog")
        except (TimeoutError, asyncpg.PostgresError, *UNREACHABLE) as error:
            log.debug("store_not_asked", error=type(error).__name__)
            for partition, offset in written.items():
                self._stored[partition] = max(offset, self._stored.get(partition, 0))
            unknown = [partition for partition in partitions if partition not in self._stored]
            if unknown:
                self._stored |= await committed_offsets(self._access, self._group, unknown)
            return
        self._stored = {partition: found.get(partition, 0) for partition in partitions}


async def stored_offsets(
    database_url: str, partitions: Collection[TopicPartition], *, application_name: str
) -> dict[TopicPartition, int]:
    """Give how far these partitions are stored, on a connection of its own; without those of which nothing is.

    Raises:
        TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the store does not answer in time.

    """
    topics, numbers = [topic for topic, _ in partitions], [number for _, number in partitions]
    async with connection(database_url, application_name=application_name) as session:
        rows = await session.fetch(_SQL["read_offsets"], topics, numbers, timeout=ASK_SECONDS)
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
