"""A worker in this process, and what it is given and leaves behind."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
from aiokafka import AIOKafkaProducer
from tests.topics import PARTITIONS
from tests.waiting import eventually

from quizstream.contracts.events import CapturedEvent, Origin
from quizstream.contracts.identity import identify
from quizstream.contracts.metrics import PROCESS_METRICS, WORKER_METRICS
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.records import Record, RecordEncoder
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import writing
from quizstream.worker.settings import WorkerSettings


def records_of(submission: int, count: int, *, first: int = 0, attempt: int | None = None) -> list[Record]:
    resource = Resource(CourseId(1), QuizId(2), SubmissionId(submission))
    now = datetime.now(UTC)
    origin = Origin(resource, None if attempt is None else Attempt(attempt), now, "student")
    stamp = now.replace(microsecond=0) - timedelta(minutes=1)
    events = [
        CapturedEvent("page_blurred", (stamp + timedelta(milliseconds=number)).isoformat(), b"%d" % number)
        for number in range(first, first + count)
    ]
    encoder = RecordEncoder(origin)
    return [encoder.encode_event(event) for event in identify(resource, events, now)]


@asynccontextmanager
async def working(settings: WorkerSettings) -> AsyncIterator[Lifetime]:
    lifetime = Lifetime()
    async with writing(settings, lifetime, Meters((*PROCESS_METRICS, *WORKER_METRICS))):
        yield lifetime


async def publish(settings: WorkerSettings, records: Sequence[Record], topic: str | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all") as producer:
        for record in records:
            key, partition = record.key, partition_of(int(record.key), PARTITIONS) if record.key.isdigit() else 0
            await producer.send(topic or settings.topic, record.value, key, partition, headers=record.headers)
        await producer.flush()


async def stored(session: "asyncpg.Connection[asyncpg.Record]", count: int) -> list[asyncpg.Record]:
    async def enough() -> bool:
        found: int = await session.fetchval("SELECT count(*) FROM quiz_submission_events")
        return found >= count

    await eventually(enough, 30)
    return await session.fetch("SELECT * FROM quiz_submission_events ORDER BY submission_id, id")
