"""The answer as bytes, round by round.

The events themselves are rendered by PostgreSQL (`sql/events.sql`): an event's JSON then crosses the process as a part
of one value instead of a row of them. `event_data` is spliced in as the text that it is in the store.
"""

from typing import Final

EMPTY_ANSWER: Final = b'{"quiz_submission_events":[]}'

_HEAD: Final = b'{"quiz_submission_events":['
_TAIL: Final = b"]}"


def frame_round(events: bytes, *, first: bool, last: bool) -> bytes:
    """Give the part of an answer that a round makes up; the parts of all rounds, joined, are the answer."""
    return b"".join((_HEAD if first else b",", events, _TAIL if last else b""))
