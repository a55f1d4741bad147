"""Entries and batches as the worker makes them from records, for tests that begin behind the log."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from quizstream.contracts.records import Record, StoredEvent, encode_replayed
from quizstream.contracts.timestamps import format_instant
from quizstream.worker.batch import Entry, PartitionBatch, QuarantineRow, TopicPartition
from quizstream.worker.event import from_stored

TOPIC = "events"
NOW = datetime.now(UTC)
SUBMISSION = 7


@dataclass
class FakeRecord:
    """A record as a Kafka client gives it."""

    offset: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"7"
    value: bytes | None = b"{}"
    topic: str = "events"
    partition: int = 3
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)


def stored_event(
    *,
    submission_id: int = SUBMISSION,
    event_id: str | None = None,
    event_type: str = "page_blurred",
    client_timestamp: str | None = "2026-11-21T19:24:17.393Z",
    occurred_at: datetime = NOW,
    received_at: datetime | None = None,
    attempt: int | None = None,
    actor: str | None = None,
    event_data: bytes = b"null",
) -> StoredEvent:
    return StoredEvent(
        event_id=event_id or str(uuid.uuid4()),
        event_type=event_type,
        client_timestamp=client_timestamp,
        occurred_at=format_instant(occurred_at),
        received_at=format_instant(received_at or NOW + timedelta(seconds=1)),
        course_id=1,
        quiz_id=2,
        submission_id=submission_id,
        attempt=attempt,
        actor=actor,
        event_data=event_data,
    )


def event_record() -> Record:
    return encode_replayed(stored_event())


def part(
    contents: Sequence[StoredEvent | QuarantineRow], *, first_offset: int = 0, partition: int = 0, topic: str = TOPIC
) -> PartitionBatch:
    entries = [_entry(first_offset + index, content) for index, content in enumerate(contents)]
    return PartitionBatch(TopicPartition(topic, partition), first_offset, entries)


def _entry(offset: int, content: StoredEvent | QuarantineRow) -> Entry:
    appended_at_ms = 1_700_000_000_000 + offset
    if isinstance(content, QuarantineRow):
        return Entry(offset, appended_at_ms, b"{}", content)
    return Entry(offset, appended_at_ms, encode_replayed(content).value, from_stored(content))
