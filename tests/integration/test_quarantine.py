"""Quarantine and the way back: worker, commands and store on real engines."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace
from tests.factories import NOW, TOPIC, part, stored_event
from tests.topics import PARTITIONS, read_topic
from tests.waiting import eventually
from tests.workers import publish, records_of, stored, working

from quizstream.contracts.events import CapturedEvent, Origin, UnusableElement
from quizstream.contracts.identity import identify_unusable
from quizstream.contracts.records import Record, RecordEncoder, StoredEvent, decode_event
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.contracts.topics import quarantine_topic
from quizstream.gateway.reread import read_element
from quizstream.worker.batch import QuarantineRow, TopicPartition
from quizstream.worker.operate import Operator, send_again
from quizstream.worker.quarantine import Quarantined, Selection, find
from quizstream.worker.replay import Replayed, Rules
from quizstream.worker.settings import OperatorSettings, WorkerSettings
from quizstream.worker.store import Store

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
COMMAND = Path(sys.executable).with_name("quizstream")
RECEIVED = datetime(2026, 11, 1, 12, tzinfo=UTC)
WITHOUT_TYPE = b'{"client_timestamp":"2026-11-01T11:59:58.123Z","event_data":{ "answer" : "secret" }}'
TYPED = Rules(read_element, "page_blurred")


def elements(*raws: bytes, submission: int = 3, course: int = 1) -> list[Record]:
    resource = Resource(CourseId(course), QuizId(2), SubmissionId(submission))
    encoder = RecordEncoder(Origin(resource, Attempt(4), RECEIVED, "student"))
    unusable = [UnusableElement(index, "event_type_missing", raw) for index, raw in enumerate(raws)]
    return [encoder.encode_quarantined(one) for one in identify_unusable(resource, unusable)]


async def quarantine(settings: WorkerSettings, records: Sequence[Record]) -> None:
    await publish(settings, records, topic=quarantine_topic(settings.topic))


async def waiting(session: Session, count: int) -> list[Quarantined]:
    """What is in quarantine, once it is so many."""
    rows: list[Quarantined] = []

    async def there() -> bool:
        rows[:] = await find(session, Selection())
        return len(rows) == count

    await eventually(there, 30)
    return rows


async def replayed(settings: WorkerSettings, rules: Rules = TYPED, selection: Selection | None = None) -> Replayed:
    operator = OperatorSettings(**settings.model_dump(include=set(OperatorSettings.model_fields)))
    return await send_again(operator, selection or Selection(), rules)


async def test_a_replayed_element_is_stored_with_its_owner_its_times_and_its_id_and_leaves_quarantine(
    settings: WorkerSettings, session: Session
) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE))
        (row,) = await waiting(session, 1)
        assert await replayed(settings) == Replayed(1, {})
        (event,) = await stored(session, 1)
        await waiting(session, 0)
    assert event["event_id"] == row.quarantine_id
    assert (event["course_id"], event["quiz_id"], event["submission_id"], event["attempt"]) == (1, 2, 3, 4)
    assert (event["event_type"], event["actor"]) == ("page_blurred", "student")
    assert event["received_at"] == RECEIVED
    assert event["occurred_at"] == datetime(2026, 11, 1, 11, 59, 58, 123_000, tzinfo=UTC)
    assert event["event_data"] == '{ "answer" : "secret" }'
    (record,) = await read_topic(settings.kafka_bootstrap_servers, settings.topic)
    assert (record.member("replayed"), record.member("quarantine_id")) == (True, str(row.quarantine_id))


async def test_what_is_replayed_again_and_again_with_whatever_type_is_one_row(
    settings: WorkerSettings, session: Session
) -> None:
    await quarantine(settings, elements(*[WITHOUT_TYPE] * 2))
    async with working(settings):
        await waiting(session, 2)
    for event_type in ("first", "second"):  # no worker is there to take the rows out of quarantine
        assert (await replayed(settings, Rules(read_element, event_type))).sent == 2
    async with working(settings):
        await waiting(session, 0)
        await publish(settings, records_of(9, 1))
        rows = await stored(session, 3)
    assert [(row["submission_id"], row["event_type"]) for row in rows[:2]] == [(3, "first")] * 2
    assert len(rows) == 3
    assert len({row["event_id"] for row in rows}) == 3


async def test_a_late_delivery_of_an_element_that_was_replayed_is_not_quarantined_again(
    settings: WorkerSettings, session: Session
) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE))
        await waiting(session, 1)
        await replayed(settings)
        await stored(session, 1)
        await quarantine(settings, [*elements(WITHOUT_TYPE), *elements(b"7")])
        (other,) = await waiting(session, 1)
    assert other.raw_bytes == len(b"7")


async def test_a_replayed_event_that_is_refused_again_is_in_quarantine_once_with_the_newest_reason(
    settings: WorkerSettings, session: Session
) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE))
        (before,) = await waiting(session, 1)
        broken = Rules(lambda _: CapturedEvent("page_blurred", None, b"{]}"))
        assert (await replayed(settings, broken)).sent == 1

        async def refused() -> list[Quarantined]:
            return [row for row in await find(session, Selection(reason="database_refused")) if not row.replayed_at]

        (row,) = await eventually(refused, 30)
        assert (row.quarantine_id, row.sqlstate, row.raw_bytes) == (before.quarantine_id, "22P02", before.raw_bytes)
        await replayed(settings)
        await stored(session, 1)
        await waiting(session, 0)


async def test_a_record_comes_back_once_it_keeps_the_contract(settings: WorkerSettings, session: Session) -> None:
    (good,) = records_of(1, 1)
    poison = Record(good.key, b"\xff", good.headers)
    async with working(settings):
        await publish(settings, [replace(good, key=b"2"), poison])
        await waiting(session, 2)
        assert await replayed(settings) == Replayed(1, {"record_malformed": 1})
        (event,) = await stored(session, 1)
        (left,) = await waiting(session, 1)
    assert str(event["event_id"]) == decode_event(good.value).event_id
    assert left.reason == "record_malformed"


async def test_what_is_unusable_still_is_told_and_not_sent(settings: WorkerSettings, session: Session) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE, b"7"))
        await waiting(session, 2)
    assert await replayed(settings, Rules(read_element)) == Replayed(
        0, {"event_type_missing": 1, "element_not_object": 1}
    )
    assert await read_topic(settings.kafka_bootstrap_servers, settings.topic) == []
    assert [row.replayed_at for row in await find(session, Selection())] == [None, None]


async def test_a_replayed_event_that_is_read_before_the_element_it_was_keeps_it_out_of_quarantine(
    database_url: str, session: Session
) -> None:
    event, element = came_back(), gateways_row()
    store = Store(database_url)
    try:
        await store.positions({TopicPartition(TOPIC, 0): 0})
        await store.write([part([event])])
        await store.write([part([element], first_offset=1)])
    finally:
        await store.close()
    assert await session.fetchval("SELECT count(*) FROM quiz_submission_events") == 1
    assert await find(session, Selection()) == []


async def test_a_row_leaves_quarantine_in_the_transaction_of_its_event(database_url: str, session: Session) -> None:
    store = Store(database_url)
    try:
        await store.positions({TopicPartition(TOPIC, 0): 0})
        await store.write([part([gateways_row()])])
        await session.execute(REFUSE_THE_LAST_STATEMENT)
        with pytest.raises(asyncpg.RaiseError):
            await store.write([part([came_back()], first_offset=1)])
        assert len(await find(session, Selection())) == 1
        assert await session.fetchval("SELECT count(*) FROM quiz_submission_events") == 0
        await session.execute("DROP TRIGGER refuse ON topic_offsets")
        await store.write([part([came_back()], first_offset=1)])
    finally:
        await store.close()
    assert await find(session, Selection()) == []
    (row,) = await session.fetch("SELECT raw, stored_at FROM quarantined_events")
    assert (row["raw"], row["stored_at"] is not None) == (b"", True)


REFUSE_THE_LAST_STATEMENT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON topic_offsets FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def came_back() -> StoredEvent:
    event = stored_event(event_id=str(UUID(int=5)))
    event.replayed, event.quarantine_id = True, str(UUID(int=5))
    return event


def gateways_row(number: int = 5, *, course_id: int | None = 1, reason: str = "event_type_missing") -> QuarantineRow:
    return QuarantineRow(
        str(UUID(int=number)), 7, course_id, 2, None, None, NOW, reason, None, 0, TOPIC, 0, number, "element", b"secret"
    )


@pytest.fixture
async def five(database_url: str, session: Session) -> None:
    """Five rows, an hour apart, the newest now; the fourth and fifth of course 2, the last with another reason."""
    store = Store(database_url)
    await store.positions({TopicPartition(TOPIC, 0): 0})
    rows = [gateways_row(number, course_id=1 if number < 4 else 2) for number in (1, 2, 3, 4)]
    await store.write([part([*rows, gateways_row(5, course_id=2, reason="event_type_empty")])])
    await store.close()
    await session.execute(
        "UPDATE quarantined_events SET quarantined_at = now() - interval '1 hour' * (5 - record_offset)"
    )


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [5, 4, 3, 2, 1]),
        (Selection(limit=2), [5, 4]),
        (Selection(course_id=1), [3, 2, 1]),
        (Selection(submission_id=8), []),
        (Selection(reason="event_type_empty"), [5]),
        (Selection(since=NOW - timedelta(hours=2, minutes=30)), [5, 4, 3]),
        (Selection(until=NOW - timedelta(hours=2, minutes=30)), [2, 1]),
        (Selection(ids=[UUID(int=2), UUID(int=9)]), [2]),
    ],
)
@pytest.mark.usefixtures("five")
async def test_rows_are_found_by_reason_owner_time_and_id(
    session: Session, selection: Selection, expected: list[int]
) -> None:
    assert [row.record_offset for row in await find(session, selection)] == expected


class Ran(NamedTuple):
    status: int
    output: str
    errors: str


async def run(settings: WorkerSettings, *arguments: str, **environment: str) -> Ran:
    """Run the real command."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=os.environ
        | environment
        | {
            "QUIZSTREAM_DATABASE_URL": settings.database_url.get_secret_value(),
            "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "QUIZSTREAM_TOPIC": settings.topic,
            "QUIZSTREAM_PARTITIONS": str(PARTITIONS),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Ran(process.returncode or 0, output.decode(), errors.decode())


@pytest.mark.usefixtures("five")
async def test_the_list_has_no_payload_and_only_show_has_it(settings: WorkerSettings) -> None:
    listed = await run(settings, "quarantine", "list", "--course", "1")
    as_json = await run(settings, "quarantine", "list", "--json", "--limit", "1")
    shown = await run(settings, "quarantine", "show", str(UUID(int=1)))
    assert len(listed.output.splitlines()) == 1 + 3
    assert json.loads(as_json.output)["quarantine_id"] == str(UUID(int=5))
    assert "secret" not in listed.output + as_json.output
    assert "secret" in shown.output
    assert (await run(settings, "quarantine", "show", str(UUID(int=6)))).status == 2


@pytest.mark.usefixtures("five")
async def test_rows_are_dropped_only_by_name_and_with_consent_and_not_those_of_held_courses(
    settings: WorkerSettings, session: Session
) -> None:
    assert (await run(settings, "quarantine", "drop", "--course", "1", "--yes")).status == 2
    asked = await run(settings, "quarantine", "drop", "--reason", "event_type_missing")
    assert (asked.status, asked.errors) == (2, "quizstream: 4 would be dropped for good: add --yes\n")
    assert len(await find(session, Selection())) == 5
    assert (await run(settings, "retention", "hold", "2", "--reason", "appeal")).status == 0
    dropped = await run(settings, "quarantine", "drop", "--reason", "event_type_missing", "--yes")
    assert dropped.output == "dropped: 3\n"
    assert [row.record_offset for row in await find(session, Selection())] == [5, 4]


async def test_the_command_replays_what_it_is_told_to(settings: WorkerSettings, session: Session) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE, b"7"))
        await waiting(session, 2)
        none = await run(settings, "quarantine", "replay", "--submission", "4")
        some = await run(settings, "quarantine", "replay", "--since", "1h", "--set-event-type", "page_blurred")
        await stored(session, 1)
        await waiting(session, 1)
    assert (none.status, none.output) == (0, "sent again: 0\n")
    assert (some.status, some.output) == (1, "sent again: 1\nstill unusable, element_not_object: 1\n")


@pytest.mark.parametrize("point", ["replay_before_publish", "replay_after_publish"])
async def test_a_replay_that_is_killed_and_begun_anew_stores_everything_once(
    settings: WorkerSettings, session: Session, point: str
) -> None:
    replay = ("quarantine", "replay", "--set-event-type", "page_blurred")
    async with working(settings):
        await quarantine(settings, elements(*[WITHOUT_TYPE] * 700))  # more than one portion
        await waiting(session, 700)
        assert (await run(settings, *replay, QUIZSTREAM_CRASH_AT=point)).status == -signal.SIGKILL
        assert (await run(settings, *replay)).status == 0
        await waiting(session, 0)
        rows = await stored(session, 700)
    assert len({row["event_id"] for row in rows}) == len(rows) == 700


async def test_a_replay_that_kafka_does_not_take_says_so_and_can_be_repeated(
    settings: WorkerSettings, session: Session
) -> None:
    async with working(settings):
        await quarantine(settings, elements(WITHOUT_TYPE))
        await waiting(session, 1)
        away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
        failed = await run(away, "quarantine", "replay", "--set-event-type", "a")
        assert (failed.status, failed.errors.split(":")[:2]) == (2, ["quizstream", " Kafka"])
        assert (await run(settings, "quarantine", "replay", "--set-event-type", "a")).status == 0
        await stored(session, 1)


async def test_a_course_is_held_and_released_by_command(settings: WorkerSettings) -> None:
    assert (await run(settings, "retention", "release", "1~5")).status == 2
    await run(settings, "retention", "hold", "1~5", "--reason", "appeal of 2026")
    held = await run(settings, "retention", "list")
    assert "10000000000005" in held.output
    assert "appeal of 2026" in held.output
    assert (await run(settings, "retention", "release", "1~5")).output == "released: 10000000000005\n"
    assert len((await Operator(settings).list_holds()).splitlines()) == 1
