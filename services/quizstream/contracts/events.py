"""One event on its way from a request to the store.

What there is one of for each event is a msgspec structure: a named tuple takes three times as long to make.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from quizstream.contracts.resources import Attempt, Resource


class CapturedEvent(msgspec.Struct, frozen=True, gc=False):
    """An element of a request that can be stored.

    `event_type` has 1..255 characters without U+0000 and lone surrogates. `client_timestamp` is the text as sent
    (of a number: its digits), None where none was sent. `event_data` is the JSON text as sent, `null` where absent.
    """

    event_type: str
    client_timestamp: str | None
    event_data: bytes


@dataclass(frozen=True, slots=True)
class UnusableElement:
    """An element of a request that cannot be stored: its index, a stable reason, and its JSON text as sent."""

    index: int
    reason: str
    raw: bytes


class Origin(NamedTuple):
    """What all events of one request share.

    `attempt` is what the token or the request named, None where the worker decides. `actor` is the `sub` of the token.
    """

    resource: Resource
    attempt: Attempt | None
    received_at: datetime
    actor: str | None


class IdentifiedEvent(msgspec.Struct, frozen=True, gc=False):
    """A captured event with the id by which a re-delivery is recognised and the time it is filed under."""

    event_id: str
    occurred_at: datetime
    event: CapturedEvent


class IdentifiedElement(NamedTuple):
    """An unusable element with the id under which it is quarantined once."""

    quarantine_id: str
    element: UnusableElement
