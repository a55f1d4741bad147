"""The quick way to read an ordinary record, held against the thorough one."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quizstream.contracts.events import CapturedEvent, IdentifiedEvent, Origin
from quizstream.contracts.records import RecordEncoder, UnreadableRecord, cut_event, decode_event
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.worker.event import Event, from_stored, read_event

ID = "0123abcd-0123-0123-0123-0123456789ab"
INSTANT = "2026-11-21T20:00:00.000000Z"
RESOURCE = Resource(CourseId(1), QuizId(2), SubmissionId(10**17))

ids = st.sampled_from([ID, ID.upper(), ID[:-1], f"{ID}0", ID.replace("-", "0"), f"{ID[:-1]}g", ID[::-1]])
instants = st.sampled_from(
    [INSTANT, "2026-02-31T25:61:61.999999Z", "2026-11-21T20:00:00Z", INSTANT.lower(), "now", "infinity", f"{INSTANT} "]
)
digits = ("1", "9" * 18, "9223372036854775807", "9223372036854775808", "0", "01", "-1", "+1", "1.0", "1_0", "x", "")
numbers = st.sampled_from([*(f'"{text}"' for text in digits), '"1\\u0030"', "1", "0", "1.0", "01", "null", "true"])
attempts = st.sampled_from(["null", "1", "9999", "10000", "10001", "0", "-1", '"3"', "1.0", "01", "", "true"])
plain = ("a", "", "é", "[]{}~ !#", "a" * 255, "a" * 256, "é" * 255, 'a","event_data":"b', 'a","member":"b', '"')
odd_texts = (r"a\"b", r"a\nb", r"\u0001", r"\u0000", r"a\\", r"\ud800", r"\x", "\x01", "\x02", "\t", "\x7f", '""')
texts = st.sampled_from([*(f'"{text}"' for text in (*plain, *odd_texts)), "null", "1", '"a" ', '"'])
data = st.sampled_from(
    [b"null", b"", b"{", b'"\x01\x02"', b'{"a":"}"}', b' "\xff"\n', b"[" * 500 + b"]" * 500, b"[" * 501 + b"]" * 501]
)
extra = st.sampled_from(["", '"a":1,', '"replayed":true,', f'"quarantine_id":"{ID}",', " ", '"event_type":"again",'])
ends = st.sampled_from([b"}", b"", b"}\n", b" }"])


def outcome(value: bytes, *, quickly: bool) -> Event | str:
    try:
        return read_event(value) if quickly else from_stored(decode_event(value))
    except UnreadableRecord as unreadable:
        return unreadable.reason


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """What differs from an ordinary record in few members, so that the quick way is taken often."""
    odd = draw(st.sets(st.integers(0, 12), max_size=2))

    def member(number: int, ordinary: str, possible: st.SearchStrategy[str]) -> str:
        return draw(possible) if number in odd else ordinary

    head = (
        f'{{"event_id":"{member(0, ID, ids)}",{member(1, "", extra)}"event_type":{member(2, ORDINARY, texts)},'
        f'"client_timestamp":{member(3, ORDINARY, texts)},"occurred_at":"{member(4, INSTANT, instants)}",'
        f'"received_at":"{member(5, INSTANT, instants)}","course_id":{member(6, ONE, numbers)},'
        f'"quiz_id":{member(7, ONE, numbers)},"submission_id":{member(8, ONE, numbers)},'
        f'"attempt":{member(9, "1", attempts)},{member(10, "", extra)}"actor":{member(11, "null", texts)},'
        f'{member(12, "", extra)}"event_data":'
    )
    return head.encode() + draw(data) + draw(ends)


ORDINARY = '"page_blurred"'
ONE = '"1"'


@given(records())
def test_the_quick_way_reads_a_record_as_the_thorough_one_does(value: bytes) -> None:
    assert outcome(value, quickly=True) == outcome(value, quickly=False)


@given(records(), st.integers(0, 400), st.integers(0, 3), st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b","]))
@example(b"", 0, 0, b"")
def test_the_two_ways_agree_on_damaged_records(value: bytes, position: int, length: int, piece: bytes) -> None:
    damaged = value[:position] + piece + value[position + length :]
    assert outcome(damaged, quickly=True) == outcome(damaged, quickly=False)


@pytest.mark.parametrize("stamp", [None, "2026-11-21T19:59:58.123Z", ""])
@pytest.mark.parametrize("actor", [None, "student-7"])
@pytest.mark.parametrize("attempt", [None, Attempt(1), Attempt(9_999)])
def test_what_the_encoder_writes_is_read_the_quick_way(
    stamp: str | None, actor: str | None, attempt: Attempt | None
) -> None:
    now = datetime.now(UTC)
    event = CapturedEvent("page_blurred", stamp, b'{"answer":"\xc3\xa9"}')
    record = RecordEncoder(Origin(RESOURCE, attempt, now, actor)).encode_event(IdentifiedEvent(ID, now, event))
    assert cut_event(record.value) is not None
    assert read_event(record.value) == from_stored(decode_event(record.value))


def test_no_record_is_unreadable() -> None:
    with pytest.raises(UnreadableRecord, match="record_empty"):
        read_event(None)
