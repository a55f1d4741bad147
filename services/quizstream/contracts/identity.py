"""Event ids: the same content gives the same id, however often and in whatever company it is sent.

Rule 1. The id is BLAKE2b with a digest of 16 bytes over fields, each preceded by its length in 8 bytes, big-endian:
rule version, course, quiz, submission (ASCII digits), event type, client timestamp as sent (UTF-8), event data (the
bytes as sent), ordinal among equals in the request (ASCII digits, from 0). It is written as a UUID. The attempt is no
part of it: a page sends the tail of attempt 1 again under attempt 2. Golden vectors: `schemas/event-id-vectors.json`.
"""

import secrets
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID

from quizstream.contracts.events import CapturedEvent, IdentifiedElement, IdentifiedEvent, UnusableElement
from quizstream.contracts.resources import Resource
from quizstream.contracts.timestamps import occurred_at, parse_client_timestamp

RULE_VERSION: Final = b"1"
DIGEST_BYTES: Final = 16

_length: Final = struct.Struct(">Q").pack


def content_hash(*fields: bytes) -> str:
    """Give the BLAKE2b-128 of fields, each preceded by its length, as a UUID in text."""
    return _uuid(blake2b(_length_prefixed(*fields), digest_size=DIGEST_BYTES).hexdigest())


class Identifier:
    """Gives the ids of what one request brings for one resource; what they share is hashed once."""

    def __init__(self, resource: Resource) -> None:
        owner = [b"%d" % number for number in resource]
        self._owner = blake2b(_length_prefixed(RULE_VERSION, *owner), digest_size=DIGEST_BYTES)
        self._seen: dict[tuple[str, str, bytes], int] = {}

    def next_id(self, event_type: str, client_timestamp: str, event_data: bytes) -> str:
        """Give the id of content; the ordinal is the number of times that it was asked for before."""
        content = (event_type, client_timestamp, event_data)
        ordinal = self._seen.get(content, 0)
        self._seen[content] = ordinal + 1
        kind, stamp = event_type.encode(), client_timestamp.encode()
        last = _length_prefixed(b"%d" % ordinal) if ordinal else _FIRST
        # What `_length_prefixed` gives, in half the time.
        fields = (_length(len(kind)), kind, _length(len(stamp)), stamp, _length(len(event_data)), event_data, last)
        hashed = self._owner.copy()
        hashed.update(b"".join(fields))
        return _uuid(hashed.hexdigest())


def random_id() -> str:
    """Give a UUIDv7 (RFC 9562, section 5.7): milliseconds of now, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    bits = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=bits))


def identify(
    resource: Resource, events: Iterable[CapturedEvent], received_at: datetime, *, recognise_redelivery: bool = True
) -> Iterator[IdentifiedEvent]:
    """Give each event its id and its time, in order.

    An event without a readable client timestamp gets a random id: nothing in it tells a repetition from a second
    event. With `recognise_redelivery` off every event gets one.
    """
    identifier = Identifier(resource)
    for event in events:
        sent = event.client_timestamp
        stamp = parse_client_timestamp(sent)
        if stamp is None or sent is None or not recognise_redelivery:
            event_id = random_id()
        else:
            event_id = identifier.next_id(event.event_type, sent, event.event_data)
        yield IdentifiedEvent(event_id, occurred_at(stamp, received_at), event)


def identify_unusable(resource: Resource, elements: Iterable[UnusableElement]) -> Iterator[IdentifiedElement]:
    """Give each unusable element the id of its raw text, so that it is quarantined once however often it is sent."""
    identifier = Identifier(resource)
    for element in elements:
        yield IdentifiedElement(identifier.next_id("", "", element.raw), element)


def _length_prefixed(*fields: bytes) -> bytes:
    return b"".join([_length(len(field)) + field for field in fields])


def _uuid(digits: str) -> str:
    """Give 32 hexadecimal digits in the form of a UUID (`uuid.UUID` takes five times as long)."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_FIRST: Final = _length_prefixed(b"0")
