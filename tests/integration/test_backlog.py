"""The age of the oldest event that is not stored, while the worker does not read, does not write or does not run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaPartition
from tests.databases import away
from tests.topics import PARTITIONS
from tests.waiting import eventually
from tests.workers import publish, records_of, stored

from quizstream.contracts.metrics import PROCESS_METRICS, WORKER_METRICS
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.topics import quarantine_topic
from quizstream.runtime.kafka_access import kafka_access
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import writing
from quizstream.worker.backlog import Backlog
from quizstream.worker.batch import TopicPartition
from quizstream.worker.settings import WorkerSettings

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Age = Callable[[], float]


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quizstream.worker.app.BACKLOG_EVERY_SECONDS", 0.2)


@asynccontextmanager
async def working(settings: WorkerSettings) -> AsyncIterator[Age]:
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))
    async with writing(settings, Lifetime(), meters):
        yield lambda: meters.registry.get_sample_value("quizstream_oldest_unstored_event_age_seconds") or 0.0


async def until(age: Age, fits: Callable[[float], bool]) -> None:
    async def so() -> bool:
        return fits(age())

    await eventually(so, 30)


async def grows(age: Age) -> None:
    """The age is that of the oldest event: it goes on without being looked for."""
    await until(age, lambda seconds: seconds > 1)
    before = age()
    await until(age, lambda seconds: seconds > before + 1)


async def test_the_age_grows_while_the_store_is_away_and_is_gone_with_the_outage(
    settings: WorkerSettings, session: Session, postgres_url: str
) -> None:
    await publish(settings, records_of(1, 2))
    async with working(settings) as age:
        await stored(session, 2)
        await until(age, lambda seconds: seconds == 0)
        async with away(session, postgres_url):
            await publish(settings, records_of(1, 3, first=2))
            await grows(age)
        await stored(session, 5)
        await until(age, lambda seconds: seconds == 0)


async def test_a_worker_that_has_never_reached_the_store_knows_the_age_from_its_group(
    settings: WorkerSettings, session: Session, postgres_url: str
) -> None:
    await publish(settings, records_of(1, 2))
    async with working(settings) as age:
        await stored(session, 2)
    async with away(session, postgres_url), working(settings) as age:
        await asyncio.sleep(1)
        assert age() == 0
        await publish(settings, records_of(1, 3, first=2))
        await grows(age)


async def test_the_age_grows_while_a_partition_is_stopped(settings: WorkerSettings, session: Session) -> None:
    await publish(settings, [*records_of(1, 5), *records_of(2, 5)])
    async with working(settings) as age:
        await stored(session, 10)
    stopped = partition_of(1, PARTITIONS)
    assert stopped != partition_of(2, PARTITIONS)
    await session.execute(
        "UPDATE topic_offsets SET next_offset = 0, last_appended_at_ms = NULL WHERE topic = $1 AND partition = $2",
        settings.topic,
        stopped,
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    await admin.delete_records({KafkaPartition(settings.topic, stopped): RecordsToDelete(before_offset=3)})
    await admin.close()
    async with working(settings) as age:
        await publish(settings, records_of(2, 5, first=5))
        await stored(session, 15)
        await grows(age)


async def test_the_age_is_known_while_another_session_keeps_the_worker_from_writing(
    settings: WorkerSettings, session: Session
) -> None:
    async with working(settings) as age:
        await publish(settings, records_of(1, 2))
        await stored(session, 2)
        async with session.transaction():
            await session.execute("SELECT FROM topic_offsets FOR UPDATE")
            await publish(settings, records_of(1, 2, first=2))
            await grows(age)
        await stored(session, 4)
        await until(age, lambda seconds: seconds == 0)


@pytest.fixture
def backlog(settings: WorkerSettings) -> Backlog:
    return Backlog(settings.database_url.get_secret_value(), kafka_access(settings), settings.consumer_group)


def partitions_of(settings: WorkerSettings) -> list[TopicPartition]:
    topics = (settings.topic, quarantine_topic(settings.topic))
    return [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]


async def test_of_each_partition_the_first_record_that_is_not_stored_is_found(
    settings: WorkerSettings, session: Session, backlog: Backlog
) -> None:
    assert await backlog.find(partitions_of(settings), {}) == {}
    await publish(settings, records_of(1, 5))
    partition = TopicPartition(settings.topic, partition_of(1, PARTITIONS))
    first = await backlog.find(partitions_of(settings), {})
    assert {key: one.offset for key, one in first.items()} == {partition: 0}
    await asyncio.sleep(0.05)
    await publish(settings, records_of(1, 5, first=5))
    await session.execute("INSERT INTO topic_offsets (topic, partition, next_offset) VALUES ($1, $2, 5)", *partition)
    second = await backlog.find(partitions_of(settings), {})
    assert second[partition].offset == 5
    assert second[partition].appended_at_ms > first[partition].appended_at_ms
    await session.execute("UPDATE topic_offsets SET next_offset = 10")
    assert await backlog.find(partitions_of(settings), {}) == {}
