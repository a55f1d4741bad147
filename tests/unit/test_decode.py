import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories import NOW, FakeRecord

from quizstream.contracts.canaries import FIRST_RESERVED_ID
from quizstream.contracts.events import CapturedEvent, IdentifiedEvent, Origin
from quizstream.contracts.records import CANARY_TYPE, EVENT_TYPE, Record, RecordEncoder
from quizstream.contracts.resources import CourseId, QuizId, Resource, SubmissionId
from quizstream.worker.batch import QuarantineRow
from quizstream.worker.decode import decode
from quizstream.worker.event import Event


def reason_of(record: FakeRecord) -> str:
    content = decode(record, quarantine_topic="events.quarantine").content
    assert isinstance(content, QuarantineRow)
    return content.reason


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b'{"event_data":1}', b'{"event_id":"x","event_data":1}'])
def test_an_unreadable_record_goes_to_quarantine_whole(value: bytes | None) -> None:
    entry = decode(FakeRecord(value=value), quarantine_topic="events.quarantine")
    assert isinstance(entry.content, QuarantineRow)
    assert entry.content.raw == (value or b"")
    assert entry.content.raw_kind == "record"


@given(st.binary(max_size=200), st.binary(max_size=10) | st.none())
def test_no_record_whatever_it_holds_makes_decoding_fail(value: bytes, key: bytes | None) -> None:
    entry = decode(FakeRecord(value=value, key=key), quarantine_topic="events.quarantine")
    assert entry.offset == 0


def test_unreadable_records_that_differ_have_different_ids() -> None:
    contents = [
        decode(FakeRecord(value=value, key=key), quarantine_topic="q").content
        for value, key in [(b"a", b"bc"), (b"ca", b"b"), (b"", b"abc")]
    ]
    ids = {content.quarantine_id for content in contents if isinstance(content, QuarantineRow)}
    assert len(ids) == 3


def published(event_data: bytes = b"null", submission: int = 7) -> Record:
    origin = Origin(Resource(CourseId(1), QuizId(2), SubmissionId(submission)), None, NOW, None)
    event = CapturedEvent("page_blurred", None, event_data)
    return RecordEncoder(origin).encode_event(IdentifiedEvent("0" * 8 + "-0000-0000-0000-" + "0" * 12, NOW, event))


def test_a_record_under_the_key_of_another_submission_is_not_stored() -> None:
    assert reason_of(FakeRecord(key=b"8", value=published().value)) == "record_key_mismatch"


def test_a_record_of_another_type_is_not_stored() -> None:
    record = published()
    headers = [("ce_type", b"org.example.other.v1")]
    assert reason_of(FakeRecord(value=record.value, headers=headers)) == "record_type_unknown"


@pytest.mark.parametrize("submission", [7, FIRST_RESERVED_ID])
def test_canaries_and_events_are_stored_under_their_own_type_only(submission: int) -> None:
    record = published(submission=submission)
    key, value = record.key, record.value
    content = decode(FakeRecord(key=key, value=value, headers=record.headers), quarantine_topic="q").content
    assert isinstance(content, Event)
    other = CANARY_TYPE if submission == 7 else EVENT_TYPE
    swapped = [("ce_type", other.encode())]
    assert reason_of(FakeRecord(key=key, value=value, headers=swapped)) == "record_type_unknown"


def test_data_nested_too_deep_is_not_stored() -> None:
    assert reason_of(FakeRecord(value=published(b"[" * 501 + b"]" * 501).value)) == "event_data_too_deep"
