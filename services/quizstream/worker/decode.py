"""From a record of the log to what is written: an event, or a quarantine row with the reason."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from quizstream.contracts.identity import content_hash
from quizstream.contracts.partitions import submission_key
from quizstream.contracts.records import (
    EVENT_TYPE,
    QUARANTINE_TYPE,
    QuarantinedElement,
    UnreadableRecord,
    decode_event,
    decode_quarantined,
)
from quizstream.worker.batch import Entry, QuarantineRow, TopicPartition
from quizstream.worker.event import Event, read_event

_CE_TYPE: Final = "ce_type"
_EVENT: Final = (_CE_TYPE, EVENT_TYPE.encode())
_QUARANTINED: Final = (_CE_TYPE, QUARANTINE_TYPE.encode())


class LogRecord(Protocol):
    """What a Kafka client gives for a record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def decode(record: LogRecord, *, quarantine_topic: str) -> Entry:
    """Give the entry of a record. Never raises for what a record holds: an unreadable one goes to quarantine."""
    try:
        content = _read_quarantined(record) if record.topic == quarantine_topic else _read_event(record)
    except UnreadableRecord as unreadable:
        content = _unreadable(record, unreadable.reason)
    return Entry(record.offset, record.timestamp, record.value or b"", content)


def quarantine_id_of(event: Event) -> str:
    """Give the id under which an event is quarantined: its own, or that of the row from which it came."""
    return event.quarantine_id or event.event_id.decode()


def refuse(source: TopicPartition, entry: Entry, sqlstate: str | None) -> QuarantineRow:
    """Give the quarantine row of a record whose event the database does not take."""
    event = decode_event(entry.value)
    return QuarantineRow(
        quarantine_id=event.quarantine_id or event.event_id,
        submission_id=event.submission_id,
        course_id=event.course_id,
        quiz_id=event.quiz_id,
        attempt=event.attempt,
        actor=_storable(event.actor),
        received_at=_instant(event.received_at, entry.appended_at_ms),
        reason="database_refused",
        sqlstate=sqlstate,
        element_index=None,
        topic=source.topic,
        partition=source.partition,
        record_offset=entry.offset,
        raw_kind="record",
        raw=entry.value,
    )


def _read_event(record: LogRecord) -> Event:
    _check_type(record, _EVENT)
    event = read_event(record.value)
    _check_key(record, event.submission_id)
    return event


def _read_quarantined(record: LogRecord) -> QuarantineRow:
    _check_type(record, _QUARANTINED)
    element = decode_quarantined(record.value)
    _check_key(record, submission_key(element.submission_id))
    return _from_gateway(record, element)


def _check_type(record: LogRecord, expected: tuple[str, bytes]) -> None:
    if expected not in record.headers and any(name == _CE_TYPE for name, _ in record.headers):
        raise UnreadableRecord("record_type_unknown")


def _check_key(record: LogRecord, expected: bytes) -> None:
    # A submission in two partitions would lose its order and its one writer.
    if record.key != expected:
        raise UnreadableRecord("record_key_mismatch")


def _from_gateway(record: LogRecord, element: QuarantinedElement) -> QuarantineRow:
    return QuarantineRow(
        quarantine_id=element.quarantine_id,
        submission_id=element.submission_id,
        course_id=element.course_id,
        quiz_id=element.quiz_id,
        attempt=element.attempt,
        actor=_storable(element.actor),
        received_at=_instant(element.received_at, record.timestamp),
        reason=element.reason.replace("\0", "\ufffd"),
        sqlstate=None,
        element_index=element.index,
        topic=record.topic,
        partition=record.partition,
        record_offset=record.offset,
        raw_kind="element",
        raw=element.raw,
    )


def _unreadable(record: LogRecord, reason: str) -> QuarantineRow:
    return QuarantineRow(
        quarantine_id=content_hash(record.topic.encode(), record.key or b"", record.value or b""),
        submission_id=None,
        course_id=None,
        quiz_id=None,
        attempt=None,
        actor=None,
        received_at=_appended_at(record.timestamp),
        reason=reason,
        sqlstate=None,
        element_index=None,
        topic=record.topic,
        partition=record.partition,
        record_offset=record.offset,
        raw_kind="record",
        raw=record.value or b"",
    )


def _storable(text: str | None) -> str | None:
    return None if text is None else text.replace("\0", "\ufffd")


def _appended_at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _instant(text: str, appended_at_ms: int) -> datetime:
    """Read a time that keeps the pattern but may name no day."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _appended_at(appended_at_ms)
