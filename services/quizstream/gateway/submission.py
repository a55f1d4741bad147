"""What a POST brings, whatever its body was written in."""

from collections.abc import Generator
from typing import Final, NamedTuple, TypeVar

from quizstream.contracts.errors import BadBody, BodyTooLarge
from quizstream.contracts.events import CapturedEvent, UnusableElement
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.contracts.resources import MAX_ATTEMPT, Attempt, parse_attempt

Result = TypeVar("Result")

Sliced = Generator[None, None, Result]
"""Work that stops, about every `SLICE_BYTES`, so that its driver may let others run."""

SLICE_BYTES: Final = 262_144  # about 1 ms of work


class Submission(NamedTuple):
    """The elements of one request in their order, and what stood beside them.

    `attempt` is one of 1..`MAX_ATTEMPT`, None where none was sent. `access_token` is text of any kind, to be verified.
    """

    events: list[CapturedEvent]
    unusable: list[UnusableElement]
    attempt: Attempt | None
    access_token: str | None


def read_attempt(text: str) -> Attempt:
    """Give the attempt that a request names beside its events.

    Raises:
        BadBody: it is not in 1..`MAX_ATTEMPT`, in ASCII digits.

    """
    attempt = parse_attempt(text)
    if attempt is None:
        raise attempt_invalid()
    return attempt


def attempt_invalid() -> BadBody:
    """Give the refusal of an `attempt` that is no number of an attempt."""
    return BadBody("attempt_invalid", f"`attempt` must be a whole number in 1..{MAX_ATTEMPT}.")


def events_missing() -> BadBody:
    """Give the refusal of a body without events."""
    return BadBody("events_missing", "The body has no member `quiz_submission_events`.")


def events_not_array() -> BadBody:
    """Give the refusal of events that are no list."""
    return BadBody("events_not_array", "`quiz_submission_events` must be an array.")


def too_many_events() -> BodyTooLarge:
    """Give the refusal of more than `MAX_ELEMENTS` elements."""
    return BodyTooLarge("too_many_events", f"At most {MAX_ELEMENTS} events fit in one request.")
