"""Rows in the format that COPY reads: CSV with control characters for delimiter and quote.

JSON text holds neither raw control character, so it needs no work; every decoded text is quoted, with quotes doubled
(PostgreSQL documentation, COPY, CSV format). Line ends inside quotes are data; an unquoted empty field is NULL.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from quizstream.contracts.records import StoredEvent
from quizstream.runtime import crash_points
from quizstream.worker.batch import Entry, TopicPartition

DELIMITER: Final = "\x02"
QUOTE: Final = "\x01"
COLUMNS: Final = (
    "id",
    "submission_id",
    "course_id",
    "quiz_id",
    "attempt",
    "event_id",
    "event_type",
    "client_timestamp",
    "occurred_at",
    "received_at",
    "actor",
    "event_data",
)
ROWS_PER_SLICE: Final = 250  # measured: PostgreSQL parses one slice while the next is made

_QUOTE: Final = QUOTE.encode()
_LINE: Final = b"\x02".join([b"%d"] * 5 + [b"%b"] * 7) + b"\n"


class EventRow(NamedTuple):
    """An event with what the worker decides: its row id and its attempt; and the record it came in."""

    row_id: int
    attempt: int
    event: StoredEvent
    source: TopicPartition
    entry: Entry


def quoted(text: bytes) -> bytes:
    """Quote a value for COPY."""
    return b"\x01%b\x01" % text.replace(_QUOTE, b"\x01\x01")


def encode_row(row: EventRow) -> bytes:
    """Give the line of a row, its values in the order of `COLUMNS`."""
    event = row.event
    return _LINE % (
        row.row_id,
        event.submission_id,
        event.course_id,
        event.quiz_id,
        row.attempt,
        event.event_id.encode(),
        quoted(event.event_type.encode()),
        b"" if event.client_timestamp is None else quoted(event.client_timestamp.encode()),
        event.occurred_at.encode(),
        event.received_at.encode(),
        b"" if event.actor is None else quoted(event.actor.encode()),
        quoted(event.event_data),
    )


async def encode_slices(rows: Sequence[EventRow]) -> AsyncIterator[bytes]:
    """Give the lines of rows, slice by slice, so that PostgreSQL works while the next slice is made."""
    for start in range(0, len(rows), ROWS_PER_SLICE):
        yield b"".join(map(encode_row, rows[start : start + ROWS_PER_SLICE]))
        crash_points.reached("worker_during_copy")
