"""From a row of quarantine to the event that comes back, and how rows are shown."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories import NOW, stored_event

from quizstream.contracts.events import CapturedEvent
from quizstream.contracts.partitions import submission_key
from quizstream.contracts.records import StoredEvent, UnreadableRecord, decode_event, encode_replayed, event_type_of
from quizstream.contracts.timestamps import format_instant
from quizstream.gateway.reread import read_element
from quizstream.worker.quarantine import Quarantined
from quizstream.worker.quarantine_view import details, json_lines, printable, table
from quizstream.worker.replay import Rules, as_event, with_event_type

QUARANTINE_ID = UUID(int=7)
RULES = Rules(read_element)
storable = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def element_row(**changes: object) -> Quarantined:
    row = Quarantined(
        quarantine_id=QUARANTINE_ID,
        quarantined_at=NOW,
        received_at=NOW - timedelta(days=1),
        reason="event_type_missing",
        sqlstate=None,
        course_id=1,
        quiz_id=2,
        submission_id=3,
        attempt=4,
        actor="student",
        element_index=0,
        topic="events.quarantine",
        partition=0,
        record_offset=5,
        raw_kind="element",
        raw_bytes=10,
        replayed_at=None,
        stored_at=None,
    )
    return row._replace(**changes)  # type: ignore[arg-type]  # the tests name its fields


@given(
    st.builds(
        StoredEvent,
        event_id=st.uuids().map(str),
        event_type=storable.filter(bool),
        client_timestamp=st.none() | storable,
        occurred_at=st.just(format_instant(NOW)),
        received_at=st.just(format_instant(NOW)),
        course_id=st.integers(1, 2**63 - 1),
        quiz_id=st.integers(1, 2**63 - 1),
        submission_id=st.integers(1, 2**63 - 1),
        attempt=st.none() | st.integers(1, 10_000),
        actor=st.none() | storable,
        replayed=st.just(True),
        quarantine_id=st.uuids().map(str),
        event_data=st.sampled_from([b"null", b"1e400", b'{"a":1,"event_data":2}']),
    )
)
def test_a_replayed_event_is_read_from_its_record_as_it_was(event: StoredEvent) -> None:
    record = encode_replayed(event)
    assert decode_event(record.value) == event
    assert record.key == submission_key(event.submission_id)
    assert dict(record.headers)["ce_id"] == event.event_id.encode()
    assert dict(record.headers)["ce_type"] == event_type_of(event.submission_id).encode()


def test_an_element_comes_back_with_its_owner_its_times_and_its_id() -> None:
    raw = b'{"event_type":"page_blurred","client_timestamp":"2026-11-01T10:00:00.5Z","event_data":{ "a" : 1e400 }}'
    assert as_event(element_row(), raw, RULES) == StoredEvent(
        event_id=str(QUARANTINE_ID),
        event_type="page_blurred",
        client_timestamp="2026-11-01T10:00:00.5Z",
        occurred_at="2026-11-01T10:00:00.500000Z",
        received_at=format_instant(NOW - timedelta(days=1)),
        course_id=1,
        quiz_id=2,
        submission_id=3,
        attempt=4,
        actor="student",
        replayed=True,
        quarantine_id=str(QUARANTINE_ID),
        event_data=b'{ "a" : 1e400 }',
    )


def test_an_element_without_a_credible_stamp_is_filed_under_its_original_receipt() -> None:
    event = as_event(element_row(), b'{"event_type":"a","client_timestamp":"yesterday"}', RULES)
    assert event.occurred_at == event.received_at == format_instant(NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"event_data":1}', "event_type_missing"),
        (b"7", "element_not_object"),
        (b'{"event_type":""}', "event_type_empty"),
        (b'{"event_type":', "json_malformed"),
        (b'{"event_type":"a"},{"event_type":"b"}', "json_malformed"),
        (b'{"event_type":"a"}],"attempt":[', "attempt_invalid"),
    ],
)
def test_what_is_unusable_still_keeps_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRecord) as unusable:
        as_event(element_row(), raw, RULES)
    assert unusable.value.reason == reason


@pytest.mark.parametrize(
    "raw",
    [b"{}", b" { } ", b'{"event_type":null}', b'{"event_type":""}', b'{"event_type":{},"event_data":"\\ud800"}'],
)
def test_a_type_given_by_an_operator_counts_where_there_is_no_usable_one(raw: bytes) -> None:
    event = as_event(element_row(), raw, Rules(read_element, 'page "blurred"'))
    assert event.event_type == 'page "blurred"'
    assert event.event_data == (b'"\\ud800"' if b"event_data" in raw else b"null")


def test_a_type_given_by_an_operator_changes_no_usable_one_and_makes_no_event_of_a_number() -> None:
    rules = Rules(read_element, "given")
    assert as_event(element_row(), b'{"event_type":"sent"}', rules).event_type == "sent"
    with pytest.raises(UnreadableRecord, match="element_not_object"):
        as_event(element_row(), b"7", rules)


@given(st.dictionaries(st.text(), st.text(), max_size=3), st.text(min_size=1).filter(str.isprintable))
def test_adding_a_type_changes_nothing_else(members: dict[str, str], event_type: str) -> None:
    added: dict[str, str] = json.loads(with_event_type(json.dumps(members).encode(), event_type))
    assert added == {**members, "event_type": event_type}


def test_a_record_comes_back_as_it_was_under_its_own_id_and_names_its_row() -> None:
    event = stored_event(event_data=b"[1]")
    event.replayed, event.quarantine_id = True, str(UUID(int=9))  # it has been here before
    row = element_row(raw_kind="record", reason="record_key_mismatch", course_id=None, quiz_id=None, submission_id=None)
    again = as_event(row, encode_replayed(event).value, RULES)
    assert (again.event_id, again.quarantine_id) == (event.event_id, str(QUARANTINE_ID))
    assert (again.occurred_at, again.received_at, again.event_data) == (event.occurred_at, event.received_at, b"[1]")


def test_a_record_that_no_worker_would_take_is_not_sent() -> None:
    deep = encode_replayed(stored_event(event_data=b"[" * 600 + b"]" * 600)).value
    for raw, reason in ((b"\xff", "record_malformed"), (deep, "event_data_too_deep")):
        with pytest.raises(UnreadableRecord) as unusable:
            as_event(element_row(raw_kind="record"), raw, RULES)
        assert unusable.value.reason == reason


def test_the_rules_that_an_element_is_read_by_are_those_given() -> None:
    lenient = Rules(lambda raw: CapturedEvent("unknown", None, raw))
    assert as_event(element_row(), b"7", lenient).event_data == b"7"


def test_lists_show_no_payload_and_details_show_it_without_control_characters() -> None:
    row = element_row(actor="red \x1b[31m\n", received_at=datetime(2026, 11, 21, tzinfo=UTC))
    shown = details(row, b'{"secret":\n"\x1b[2J\xff"}')
    assert '{"secret":\n"\\x1b[2J\\xff"}' in shown
    for text in (shown, table([row]), json_lines([row])):
        assert "\x1b" not in text
    assert json.loads(json_lines([row]))["received_at"] == "2026-11-21T00:00:00+00:00"
    assert len(table([row]).splitlines()) == 2


@given(st.text())
def test_what_is_printed_is_printable(text: str) -> None:
    assert printable(text).isprintable()
