"""An event between its record and its row: what decides about it, and its columns as COPY reads them.

Columns are CSV with control characters for delimiter and quote. JSON text holds neither raw control character, so it
needs no work; every decoded text is quoted, with quotes doubled (PostgreSQL documentation, COPY, CSV format). Line ends
inside quotes are data; an unquoted empty field is NULL.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from quizstream.contracts.depth import is_too_deep
from quizstream.contracts.records import StoredEvent, UnreadableRecord, cut_event, decode_event

DELIMITER: Final = "\x02"
QUOTE: Final = "\x01"
RECORD_COLUMNS: Final = (
    "event_id",
    "event_type",
    "client_timestamp",
    "occurred_at",
    "received_at",
    "course_id",
    "quiz_id",
    "submission_id",
    "actor",
    "event_data",
)

_QUOTE: Final = QUOTE.encode()
_SCALARS: Final = DELIMITER.encode().join([b"%b"] * (len(RECORD_COLUMNS) - 1))


class Event(msgspec.Struct, frozen=True, gc=False):
    """What decides about an event, as the bytes of its record, and `columns`, the values of `RECORD_COLUMNS`.

    `attempt` is 0 where the record names none, `is_stamped` tells whether the client sent a stamp, `quarantine_id` is
    the row of a replayed event. The collector need not look at these: they refer to nothing that could refer back.
    """

    event_id: bytes
    submission_id: bytes
    attempt: int
    is_stamped: bool
    occurred_at: bytes
    received_at: bytes
    columns: bytes
    quarantine_id: str | None = None


def read_event(value: bytes | None) -> Event:
    """Read an event's record; the ordinary form of it without decoding.

    Raises:
        UnreadableRecord: the value does not keep the contract.

    """
    members = None if value is None else cut_event(value)
    return from_stored(decode_event(value)) if members is None else _from_members(members)


def from_stored(event: StoredEvent) -> Event:
    """Give an event as it is handled from here on.

    Raises:
        UnreadableRecord: its data is nested too deep.

    """
    event_id, submission_id = event.event_id.encode(), b"%d" % event.submission_id
    occurred_at, received_at = event.occurred_at.encode(), event.received_at.encode()
    scalars = _SCALARS % (
        event_id,
        quoted(event.event_type.encode()),
        _quoted_or_null(event.client_timestamp),
        occurred_at,
        received_at,
        b"%d" % event.course_id,
        b"%d" % event.quiz_id,
        submission_id,
        _quoted_or_null(event.actor),
    )
    return Event(
        event_id,
        submission_id,
        event.attempt or 0,
        event.client_timestamp is not None,
        occurred_at,
        received_at,
        _columns(scalars, event.event_data),
        event.quarantine_id,
    )


def _from_members(members: Sequence[bytes]) -> Event:
    event_id, event_type, sent_at, occurred_at, received_at, course, quiz, submission, attempt, actor, data = members
    scalars = _SCALARS % (event_id, event_type, sent_at, occurred_at, received_at, course, quiz, submission, actor)
    # These texts hold no quotation mark, so what is there are the marks around them.
    columns = _columns(scalars.replace(b'"', _QUOTE), data)
    return Event(event_id, submission, int(attempt or 0), bool(sent_at), occurred_at, received_at, columns)


def quoted(text: bytes) -> bytes:
    """Quote a value for COPY."""
    return b"\x01%b\x01" % text.replace(_QUOTE, b"\x01\x01")


def _quoted_or_null(text: str | None) -> bytes:
    return b"" if text is None else quoted(text.encode())


def _columns(scalars: bytes, event_data: bytes) -> bytes:
    if is_too_deep(event_data):
        raise UnreadableRecord("event_data_too_deep")
    return b"%b\x02%b" % (scalars, quoted(event_data))
