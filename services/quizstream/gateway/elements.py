"""What makes an element of a request an event, and why one cannot be stored."""

import re
from typing import Final

from quizstream.contracts.events import CapturedEvent
from quizstream.contracts.records import MAX_EVENT_TYPE_CHARACTERS

NOT_OBJECT: Final = "element_not_object"
TYPE_MISSING: Final = "event_type_missing"
TYPE_INVALID: Final = "event_type_invalid"
TYPE_EMPTY: Final = "event_type_empty"
TYPE_TOO_LONG: Final = "event_type_too_long"
TYPE_UNSTORABLE: Final = "event_type_unstorable"

REASONS: Final = {
    NOT_OBJECT: "An event must be an object, or a string that is its type.",
    TYPE_MISSING: "The event has no `event_type`.",
    TYPE_INVALID: "`event_type` must be a string, a number or a boolean.",
    TYPE_EMPTY: "`event_type` must not be empty.",
    TYPE_TOO_LONG: f"`event_type` must have at most {MAX_EVENT_TYPE_CHARACTERS} characters.",
    TYPE_UNSTORABLE: "`event_type` must not hold U+0000 or a lone surrogate.",
}
"""The sentence for each reason of an `UnusableElement`."""

NULL: Final = b"null"

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")  # no text of PostgreSQL, no UTF-8


def storable(text: str) -> str:
    """Give `text` with U+FFFD in the place of U+0000 and lone surrogates, which neither PostgreSQL nor UTF-8 holds."""
    return _UNSTORABLE.sub("\ufffd", text)


def capture(event_type: str, client_timestamp: str | None = None, event_data: bytes = NULL) -> CapturedEvent | str:
    """Give the event, or the reason (one of `REASONS`) why `event_type` cannot be the type of one."""
    if fault := _fault(event_type):
        return fault
    return CapturedEvent(event_type, None if client_timestamp is None else storable(client_timestamp), event_data)


def _fault(event_type: str) -> str | None:
    if not event_type:
        return TYPE_EMPTY
    if len(event_type) > MAX_EVENT_TYPE_CHARACTERS:
        return TYPE_TOO_LONG
    return TYPE_UNSTORABLE if _UNSTORABLE.search(event_type) else None
