"""Rows as COPY reads them: what the worker decides, and then the columns of `event`."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from quizstream.runtime import crash_points
from quizstream.worker.batch import Entry, TopicPartition
from quizstream.worker.event import RECORD_COLUMNS, Event

COLUMNS: Final = ("id", "attempt", *RECORD_COLUMNS)
ROWS_PER_SLICE: Final = 250  # measured: PostgreSQL parses one slice while the next is made


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """An event with what the worker decides: its row id and its attempt; and the record it came in."""

    row_id: int
    attempt: int
    event: Event
    source: TopicPartition
    entry: Entry


def encode_row(row: EventRow) -> bytes:
    """Give the line of a row, its values in the order of `COLUMNS`."""
    return b"%d\x02%d\x02%b\n" % (row.row_id, row.attempt, row.event.columns)


async def encode_slices(rows: Sequence[EventRow]) -> AsyncIterator[bytes]:
    """Give the lines of rows, slice by slice, so that PostgreSQL works while the next slice is made."""
    for start in range(0, len(rows), ROWS_PER_SLICE):
        yield b"".join(map(encode_row, rows[start : start + ROWS_PER_SLICE]))
        crash_points.reached("worker_during_copy")
