"""Records, event ids and partitions: what is published is what was sent, under an id that a repetition has again."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from uuid import UUID

import orjson
import pytest
from aiokafka.partitioner import murmur2 as reference_murmur2
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.events import CapturedEvent, IdentifiedElement, IdentifiedEvent, Origin, UnusableElement
from quizstream.contracts.identity import Identifier, identify, identify_unusable
from quizstream.contracts.partitions import murmur2, partition_of, submission_key
from quizstream.contracts.records import (
    EVENT_TYPE,
    QuarantinedElement,
    Record,
    RecordEncoder,
    StoredEvent,
    UnreadableRecord,
    decode_event,
    decode_quarantined,
)
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.contracts.timestamps import format_instant

VECTORS = Path(__file__).parents[2] / "schemas" / "event-id-vectors.json"
NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
STAMP = "2026-11-21T19:59:58.123Z"


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


ids = st.integers(1, 2**63 - 1)
resources = st.builds(Resource, st.builds(CourseId, ids), st.builds(QuizId, ids), st.builds(SubmissionId, ids))
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds
storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# What could be taken for the border of a member.
treacherous = st.sampled_from([',"event_data":', '","event_data":null}', ',"raw":', '\\","event_data":', "}"])
texts = st.lists(storable | treacherous, max_size=4).map("".join)
event_types = texts.filter(bool).map(lambda text: text[:255])

names = st.text() | treacherous
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
# One value written in several ways, among them what decoders refuse or round.
json_texts = st.one_of(
    st.builds(lambda value, indent: json.dumps(value, indent=indent).encode(), json_values, st.sampled_from([None, 1])),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False)).filter(_encodable).map(str.encode),
    st.sampled_from([b"1e400", b"-0", b'"\\ud800"', b'"\\u0000"', b'{"a":1,"a":2}', b"123456789012345678901234567890"]),
)

origins = st.builds(
    Origin, resources, st.none() | st.builds(Attempt, st.integers(1, 10_000)), instants, st.none() | texts
)
captured = st.builds(CapturedEvent, event_types, st.none() | texts, json_texts)
# Few values, so that equal events meet.
similar = st.builds(
    CapturedEvent, st.sampled_from("ab"), st.sampled_from([STAMP, "1795291198", None]), st.sampled_from([b"1", b"2"])
)


def headers(record: Record) -> dict[str, bytes]:
    return dict(record.headers)


@given(origins, st.uuids(), instants, captured)
def test_an_event_is_read_from_its_record_as_it_was(
    origin: Origin, event_id: UUID, occurred_at: datetime, event: CapturedEvent
) -> None:
    record = RecordEncoder(origin).encode_event(IdentifiedEvent(str(event_id), occurred_at, event))
    assert decode_event(record.value) == StoredEvent(
        event_id=str(event_id),
        event_type=event.event_type,
        client_timestamp=event.client_timestamp,
        occurred_at=format_instant(occurred_at),
        received_at=format_instant(origin.received_at),
        course_id=origin.resource.course_id,
        quiz_id=origin.resource.quiz_id,
        submission_id=origin.resource.submission_id,
        attempt=origin.attempt,
        actor=origin.actor,
        event_data=event.event_data,
    )


@given(origins, st.uuids(), st.integers(0, 49_999), json_texts)
def test_an_unusable_element_is_read_from_its_record_as_it_was(
    origin: Origin, quarantine_id: UUID, index: int, raw: bytes
) -> None:
    element = IdentifiedElement(str(quarantine_id), UnusableElement(index, "event_type_missing", raw))
    record = RecordEncoder(origin).encode_quarantined(element)
    assert decode_quarantined(record.value) == QuarantinedElement(
        quarantine_id=str(quarantine_id),
        reason="event_type_missing",
        index=index,
        received_at=format_instant(origin.received_at),
        course_id=origin.resource.course_id,
        quiz_id=origin.resource.quiz_id,
        submission_id=origin.resource.submission_id,
        attempt=origin.attempt,
        actor=origin.actor,
        raw=raw,
    )


@given(origins, captured)
def test_a_value_is_json_with_event_data_as_its_last_member(origin: Origin, event: CapturedEvent) -> None:
    record = RecordEncoder(origin).encode_event(IdentifiedEvent(str(UUID(int=1)), NOW, event))
    members = json.loads(record.value)
    assert list(members)[-1] == "event_data"
    assert members["event_type"] == event.event_type
    assert record.value.endswith(b'"event_data":' + event.event_data + b"}")


def test_headers_are_those_of_cloudevents() -> None:
    resource = Resource(CourseId(1), QuizId(2), SubmissionId(7))
    event = CapturedEvent("page_blurred", STAMP, b"null")
    record = RecordEncoder(Origin(resource, None, NOW, "student")).encode_event(IdentifiedEvent("an-id", NOW, event))
    assert headers(record) == {
        "ce_specversion": b"1.0",
        "ce_id": b"an-id",
        "ce_source": b"/courses/1/quizzes/2/submissions/7",
        "ce_type": EVENT_TYPE.encode(),
        "ce_time": b"2026-11-21T20:00:00.000000Z",
        "content-type": b"application/json",
    }
    assert record.key == b"7"


def test_canaries_have_a_type_of_their_own() -> None:
    origin = Origin(Resource(CourseId(1), QuizId(2), SubmissionId(2**63 - 1)), None, NOW, None)
    record = RecordEncoder(origin).encode_event(IdentifiedEvent("an-id", NOW, CapturedEvent("a", None, b"null")))
    assert headers(record)["ce_type"] == b"org.quizstream.canary.v1"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b'{"event_data":1}',
        b'{"event_id":"x","event_data":1}',
        b'{"a":1,"event_data":1',
        b"\xff",
    ],
)
def test_what_is_no_record_is_told_apart_without_being_quoted(value: bytes | None) -> None:
    with pytest.raises(UnreadableRecord) as refused:
        decode_event(value)
    with pytest.raises(UnreadableRecord):
        decode_quarantined(value)
    assert refused.value.reason in {"record_empty", "record_malformed"}


@given(st.binary())
def test_no_bytes_crash_the_decoders(value: bytes) -> None:
    for decode in (decode_event, decode_quarantined):
        with pytest.raises(UnreadableRecord):
            decode(value)


class Vector(TypedDict):
    course_id: int
    quiz_id: int
    submission_id: int
    event_type: str
    client_timestamp: str
    event_data: str
    ordinal: int
    event_id: str


def content_id(resource: Resource, event_type: str, client_timestamp: str, event_data: bytes, ordinal: int = 0) -> str:
    identifier = Identifier(resource)
    return [identifier.next_id(event_type, client_timestamp, event_data) for _ in range(ordinal + 1)][-1]


def test_ids_are_those_of_the_published_vectors() -> None:
    vectors: list[Vector] = orjson.loads(VECTORS.read_bytes())["vectors"]
    assert vectors
    for vector in vectors:
        owner = CourseId(vector["course_id"]), QuizId(vector["quiz_id"]), SubmissionId(vector["submission_id"])
        sent = vector["event_type"], vector["client_timestamp"], vector["event_data"].encode()
        assert content_id(Resource(*owner), *sent, vector["ordinal"]) == vector["event_id"]
    assert len({vector["event_id"] for vector in vectors}) == len(vectors)


RESOURCE = Resource(CourseId(1), QuizId(2), SubmissionId(7))


def known_ids(events: Sequence[CapturedEvent], received_at: datetime = NOW) -> list[str]:
    identified = identify(RESOURCE, events, received_at)
    return [each.event_id for each in identified if each.event.client_timestamp is not None]


@given(st.lists(similar), st.timedeltas(timedelta(0), timedelta(days=1)))
def test_the_same_batch_again_has_the_same_ids(events: list[CapturedEvent], later: timedelta) -> None:
    assert known_ids(events) == known_ids(events, NOW + later)
    assert len(set(known_ids(events))) == len(known_ids(events))


@given(st.lists(similar), st.lists(similar))
def test_a_batch_inside_a_larger_one_keeps_its_ids(events: list[CapturedEvent], newer: list[CapturedEvent]) -> None:
    assert known_ids(events + newer)[: len(known_ids(events))] == known_ids(events)


@given(st.lists(similar), st.integers(0, 10))
def test_a_batch_cut_in_two_has_no_id_that_the_whole_has_not(events: list[CapturedEvent], cut: int) -> None:
    assert {*known_ids(events[:cut]), *known_ids(events[cut:])} <= set(known_ids(events))


@given(similar)
def test_an_event_of_another_owner_is_another_event(event: CapturedEvent) -> None:
    others = (RESOURCE._replace(course_id=CourseId(9)), RESOURCE._replace(quiz_id=QuizId(9)), RESOURCE)
    assert len({next(identify(owner, [event], NOW)).event_id for owner in others}) == 3


@given(texts, texts, texts, texts)
def test_bytes_that_move_between_fields_make_another_id(first: str, second: str, third: str, fourth: str) -> None:
    one, other = content_id(RESOURCE, first, second, b"0"), content_id(RESOURCE, third, fourth, b"0")
    assert (one == other) == ((first, second) == (third, fourth))


def test_an_event_without_a_stamp_is_a_new_one_each_time() -> None:
    unstamped = CapturedEvent("a", None, b"null")
    unreadable = CapturedEvent("a", "yesterday", b"null")
    found = [event.event_id for event in identify(RESOURCE, [unstamped, unreadable] * 2, NOW)]
    assert len(set(found)) == 4
    assert {UUID(event_id).version for event_id in found} == {7}


def test_without_recognition_equal_events_are_two() -> None:
    twice = [CapturedEvent("a", STAMP, b"null")] * 2
    found = {event.event_id for _ in range(2) for event in identify(RESOURCE, twice, NOW, recognise_redelivery=False)}
    assert len(found) == 4


def test_an_unusable_element_has_the_same_id_however_often_it_is_sent() -> None:
    elements = [UnusableElement(0, "element_not_object", b"1"), UnusableElement(3, "element_not_object", b"1")]
    first, again = (list(identify_unusable(RESOURCE, elements)) for _ in range(2))
    assert [element.quarantine_id for element in first] == [element.quarantine_id for element in again]
    assert first[0].quarantine_id != first[1].quarantine_id


@given(st.binary())
def test_the_hash_is_that_of_other_kafka_clients(data: bytes) -> None:
    reference: int = reference_murmur2(data)
    assert murmur2(data) == reference & 0xFFFFFFFF


def test_the_partition_is_that_of_kafkas_java_client() -> None:
    # Kafka's own test of its hash (UtilsTest.testMurmur2).
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert {data: murmur2(data) for data in known} == {data: value & 0xFFFFFFFF for data, value in known.items()}


@given(ids, st.integers(1, 4096))
def test_a_submission_stays_in_one_partition(submission_id: int, partitions: int) -> None:
    reference: int = reference_murmur2(submission_key(submission_id))
    assert partition_of(submission_id, partitions) == (reference & 0x7FFFFFFF) % partitions
