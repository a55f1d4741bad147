"""The worker's loop between a real Kafka and a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from msgspec.structs import replace
from tests.topics import PARTITIONS
from tests.waiting import eventually
from tests.workers import publish, records_of, stored, working

from quizstream.contracts.events import Origin, UnusableElement
from quizstream.contracts.identity import identify_unusable
from quizstream.contracts.metrics import PROCESS_METRICS, WORKER_METRICS
from quizstream.contracts.records import Record, RecordEncoder
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.contracts.topics import quarantine_topic
from quizstream.runtime.lifecycle import StartRefused
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import Assembly
from quizstream.worker.batch import TopicPartition
from quizstream.worker.decode import LogRecord
from quizstream.worker.log import Log
from quizstream.worker.observe import Observer
from quizstream.worker.settings import WorkerSettings

PolledRecords: TypeAlias = Mapping[TopicPartition, list[LogRecord]]


async def test_records_become_rows_in_the_order_of_the_log(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for submission in range(1, 9):
        await publish(settings, records_of(submission, 40))
    async with working(settings):
        rows = await stored(session, 320)
    assert [(row["submission_id"], row["event_data"]) for row in rows] == [
        (submission, str(number)) for submission in range(1, 9) for number in range(40)
    ]


async def test_a_second_start_goes_on_where_the_first_stopped_and_repeats_nothing(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await publish(settings, records_of(1, 10))
    async with working(settings):
        await stored(session, 10)
    await publish(settings, [*records_of(1, 5, first=5), *records_of(1, 5, first=10)])
    async with working(settings):
        rows = await stored(session, 15)
    assert len({row["event_id"] for row in rows}) == len(rows)


async def test_an_unreadable_record_harms_nothing_else_and_is_in_quarantine(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    good = records_of(1, 3)
    poison = [Record(b"1", value, []) for value in (b"\xff\x00", b"{}", b"")]
    broken = replace(good[1], value=good[1].value.replace(b',"event_data":1}', b',"event_data":{]}'))
    await publish(settings, [poison[0], good[0], broken, poison[1], good[2], poison[2]])
    async with working(settings):
        rows = await stored(session, 2)
    assert [row["event_data"] for row in rows] == ["0", "2"]
    reasons = await session.fetch("SELECT reason FROM quarantined_events ORDER BY record_offset")
    assert [row["reason"] for row in reasons] == [
        "record_malformed",
        "database_refused",
        "record_malformed",
        "record_malformed",
    ]


async def test_an_element_that_the_gateway_refused_is_stored_in_quarantine(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    resource = Resource(CourseId(1), QuizId(2), SubmissionId(3))
    encoder = RecordEncoder(Origin(resource, Attempt(1), datetime.now(UTC), "student"))
    elements = [UnusableElement(4, "event_type_missing", b'{"event_data":"\\ud800"}')]
    records = [encoder.encode_quarantined(one) for one in identify_unusable(resource, elements)]
    await publish(settings, records * 2, topic=quarantine_topic(settings.topic))
    async with working(settings):

        async def there() -> list[asyncpg.Record]:
            return await session.fetch("SELECT * FROM quarantined_events")

        (row,) = await eventually(there)
    assert (row["submission_id"], row["course_id"], row["element_index"]) == (3, 1, 4)
    assert (row["reason"], row["raw_kind"], row["raw"]) == ("event_type_missing", "element", elements[0].raw)


async def test_two_workers_share_the_partitions_and_store_everything_once(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with working(settings):
        await publish(settings, [one for submission in range(1, 13) for one in records_of(submission, 25)])
        async with working(settings):
            more = [records_of(submission, 25, first=25) for submission in range(1, 13)]
            await publish(settings, [one for records in more for one in records])
            await stored(session, 600)
        await publish(settings, [one for submission in range(1, 13) for one in records_of(submission, 5, first=50)])
        rows = await stored(session, 660)
    expected = [(submission, str(number)) for submission in range(1, 13) for number in range(55)]
    assert [(row["submission_id"], row["event_data"]) for row in rows] == expected


async def test_offsets_that_went_back_with_the_rows_fill_the_gap_with_the_same_ids(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await publish(settings, records_of(1, 30))
    async with working(settings):
        before = await stored(session, 30)
        await session.execute("DELETE FROM quiz_submission_events WHERE (id / 4096) >= 10")
        await session.execute(
            "UPDATE topic_offsets SET next_offset = 10, last_appended_at_ms = NULL WHERE next_offset = 30"
        )
        await publish(settings, records_of(1, 1, first=30))
        after = await stored(session, 31)
    assert [(row["id"], row["event_id"]) for row in after][:30] == [(row["id"], row["event_id"]) for row in before]


async def test_a_topic_made_anew_stops_the_worker_with_one_line(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await publish(settings, records_of(1, 3))
    async with working(settings):
        await stored(session, 3)
    await session.execute("UPDATE topic_offsets SET last_appended_at_ms = 1 WHERE next_offset > 0")
    async with working(settings) as lifetime:
        with pytest.raises(StartRefused, match="adopt-topic"):
            await asyncio.wait_for(lifetime.until_stopped(), 30)


async def test_a_stored_offset_beyond_the_log_stops_loudly_and_skips_nothing(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await publish(settings, records_of(1, 3))
    async with working(settings):
        await stored(session, 3)
    await session.execute("UPDATE topic_offsets SET next_offset = 999 WHERE next_offset > 0")
    async with working(settings) as lifetime:
        with pytest.raises(StartRefused, match="expects record 999"):
            await asyncio.wait_for(lifetime.until_stopped(), 30)


async def test_partitions_that_a_topic_gains_are_read_without_a_restart(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with working(settings):
        await publish(settings, records_of(1, 2))
        await stored(session, 2)
        async with admin_of(settings) as admin:
            await admin.create_partitions({settings.topic: NewPartitions(PARTITIONS + 1)})
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
            for record in records_of(2, 3):
                await producer.send_and_wait(
                    settings.topic, record.value, record.key, PARTITIONS, headers=record.headers
                )
        rows = await stored(session, 5)
    assert [row["id"] % 4096 for row in rows if row["submission_id"] == 2] == [PARTITIONS] * 3


@asynccontextmanager
async def admin_of(settings: WorkerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    yield admin
    await admin.close()


async def test_a_consumer_that_gets_nothing_although_the_log_has_more_is_replaced(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))
    assembly = Assembly(settings.model_copy(update={"rejoin_after_seconds": 1}), Observer(meters))
    working_on = asyncio.create_task(assembly.run())
    try:
        await publish(settings, records_of(1, 2))
        await stored(session, 2)
        assert assembly._log is not None
        consumer = assembly._log._consumer
        consumer.pause(*consumer.assignment())  # as one that has lost its fetches: it reports nothing and gets nothing
        await publish(settings, records_of(1, 3, first=2))
        rows = await stored(session, 5)
    finally:
        await assembly.stop()
        working_on.cancel()
        await assembly.close()
    assert [row["event_data"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert meters.registry.get_sample_value("quizstream_consumers_replaced_total") == 1
    assert assembly._log._consumer is not consumer


async def test_a_client_that_cancels_whoever_waits_for_it_is_replaced_and_nothing_ends(
    settings: WorkerSettings, session: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka cancels those who wait for a connection that it gives up, when its link is cut."""
    given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    poll = Log.poll

    async def poll_or_be_cancelled(self: Log, max_records: int, wait_seconds: float) -> PolledRecords:
        if not given_up.cancelled():
            given_up.cancel()
            await given_up
        return await poll(self, max_records, wait_seconds)

    async with working(settings):
        await publish(settings, records_of(1, 2))
        await stored(session, 2)
        monkeypatch.setattr(Log, "poll", poll_or_be_cancelled)
        await publish(settings, records_of(1, 3, first=2))
        rows = await stored(session, 5)
    assert given_up.cancelled()
    assert [row["event_data"] for row in rows] == ["0", "1", "2", "3", "4"]
