"""Rows of the store as lines that COPY reads, made without the product's own code: what a baseline is given.

CSV with control characters for delimiter and quote (PostgreSQL documentation, COPY): JSON text holds neither.
"""

import json

from quizstream.contracts.records import Record

TABLE = "quiz_submission_events"
COLUMNS = (
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
DELIMITER = "\x02"
QUOTE = "\x01"
_TEXTS = ("event_id", "event_type", "client_timestamp", "occurred_at", "received_at", "actor")
_PARTITIONS_PER_ID = 4096


def row_id(partition: int, offset: int) -> int:
    """The id that the worker gives the row of a record."""
    return offset * _PARTITIONS_PER_ID + partition


def line_of(record: Record, identifier: int) -> bytes:
    """The line of a record's row, in the order of `COLUMNS`; its texts hold nothing that needs an escape."""
    head, _, tail = record.value.partition(b',"event_data":')
    members: dict[str, object] = json.loads(head + b"}")
    owner = (identifier, members["submission_id"], members["course_id"], members["quiz_id"], 1)
    values = [str(value) for value in (*owner, *(members[name] for name in _TEXTS))]
    return DELIMITER.join(values).encode() + b"\x02\x01" + tail[:-1] + b"\x01\n"
