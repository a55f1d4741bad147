"""Records of the two topics: CloudEvents 1.0 in binary mode (its Kafka protocol binding), values in JSON.

`event_data` (and `raw` of a quarantined element) is the last member of a value, in the bytes that were sent, so that it
can be cut out without being parsed: all members before it are scalars, and inside a JSON string the quotation mark that
would begin a member's name is escaped, so the first `,"event_data":` is that of the record.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
import orjson

from quizstream.contracts.events import IdentifiedElement, IdentifiedEvent, Origin
from quizstream.contracts.partitions import submission_key
from quizstream.contracts.resources import MAX_ATTEMPT, MAX_ID
from quizstream.contracts.timestamps import format_instant

EVENT_TYPE: Final = "org.quizstream.submission.event.v1"
QUARANTINE_TYPE: Final = "org.quizstream.submission.quarantine.v1"
MAX_EVENT_TYPE_CHARACTERS: Final = 255

_EVENT_DATA: Final = b',"event_data":'
_RAW: Final = b',"raw":'
_SHARED: Final = b'"received_at":"%b","course_id":"%d","quiz_id":"%d","submission_id":"%d","attempt":%b,"actor":%b'
_SOURCE: Final = b"/courses/%d/quizzes/%d/submissions/%d"
# Possessive quantifiers: nothing needs to be tried twice, which makes a fifth of the time.
_UUID: Final = r"[0-9a-f]{8}+-[0-9a-f]{4}+-[0-9a-f]{4}+-[0-9a-f]{4}+-[0-9a-f]{12}+"
_INSTANT: Final = r"[0-9]{4}+-[0-9]{2}+-[0-9]{2}+T[0-9]{2}+:[0-9]{2}+:[0-9]{2}+\.[0-9]{6}+Z"

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """What is published: all records of a submission share its key."""

    key: bytes
    value: bytes
    headers: Headers


class UnreadableRecord(Exception):  # noqa: N818  a situation, which the worker answers with quarantine
    """A record that does not keep the contract. `reason` is stable and quotes nothing of the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


RecordId = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
RecordUuid = Annotated[str, msgspec.Meta(pattern=rf"^{_UUID}\Z")]
RecordInstant = Annotated[str, msgspec.Meta(pattern=rf"^{_INSTANT}\Z")]
RecordAttempt = Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPT)] | None


class StoredEvent(msgspec.Struct):
    """The members of an event's record before `event_data`, times and id as the texts that they are there.

    `quarantine_id` names the row of a replayed event, so that the worker can settle it.
    """

    event_id: RecordUuid
    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EVENT_TYPE_CHARACTERS)]
    client_timestamp: str | None
    occurred_at: RecordInstant
    received_at: RecordInstant
    course_id: RecordId
    quiz_id: RecordId
    submission_id: RecordId
    attempt: RecordAttempt
    actor: str | None
    replayed: bool = False
    quarantine_id: RecordUuid | None = None
    event_data: bytes = b"null"


class QuarantinedElement(msgspec.Struct):
    """The members of a quarantined element's record before `raw`."""

    quarantine_id: RecordUuid
    reason: str
    index: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    received_at: RecordInstant
    course_id: RecordId
    quiz_id: RecordId
    submission_id: RecordId
    attempt: RecordAttempt
    actor: str | None
    raw: bytes = b"null"


class RecordEncoder:
    """Encodes the events of one request; what they share is written once."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._key = submission_key(origin.resource.submission_id)
        self._source = _SOURCE % origin.resource
        self._shared = _SHARED % (
            format_instant(origin.received_at).encode(),
            *origin.resource,
            orjson.dumps(origin.attempt),
            orjson.dumps(origin.actor),
        )

    def encode_event(self, identified: IdentifiedEvent) -> Record:
        """Give the record of an event."""
        event_id, occurred_at, event = identified
        occurred = format_instant(occurred_at).encode()
        value = b'{"event_id":"%b","event_type":%b,"client_timestamp":%b,"occurred_at":"%b",%b,"event_data":%b}' % (
            event_id.encode(),
            orjson.dumps(event.event_type),
            orjson.dumps(event.client_timestamp),
            occurred,
            self._shared,
            event.event_data,
        )
        return Record(self._key, value, _headers(event_id, EVENT_TYPE, self._source, occurred))

    def encode_quarantined(self, identified: IdentifiedElement) -> Record:
        """Give the record of an element that cannot be stored."""
        quarantine_id, element = identified
        value = b'{"quarantine_id":"%b","reason":%b,"index":%d,%b,"raw":%b}' % (
            quarantine_id.encode(),
            orjson.dumps(element.reason),
            element.index,
            self._shared,
            element.raw,
        )
        received = format_instant(self._origin.received_at).encode()
        return Record(self._key, value, _headers(quarantine_id, QUARANTINE_TYPE, self._source, received))


def encode_replayed(event: StoredEvent) -> Record:
    """Give the record by which an event comes back from quarantine: as it was, with `replayed` and `quarantine_id`."""
    owner = (event.course_id, event.quiz_id, event.submission_id)
    occurred = event.occurred_at.encode()
    shared = _SHARED % (event.received_at.encode(), *owner, orjson.dumps(event.attempt), orjson.dumps(event.actor))
    value = (
        b'{"event_id":"%b","event_type":%b,"client_timestamp":%b,"occurred_at":"%b",%b,'
        b'"replayed":true,"quarantine_id":%b,"event_data":%b}'
    ) % (
        event.event_id.encode(),
        orjson.dumps(event.event_type),
        orjson.dumps(event.client_timestamp),
        occurred,
        shared,
        orjson.dumps(event.quarantine_id),
        event.event_data,
    )
    source = _SOURCE % owner
    return Record(submission_key(event.submission_id), value, _headers(event.event_id, EVENT_TYPE, source, occurred))


def _headers(record_id: str, record_type: str, source: bytes, time: bytes) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", record_id.encode()),
        ("ce_source", source),
        ("ce_type", record_type.encode()),
        ("ce_time", time),
        ("content-type", b"application/json"),
    ]


# What `RecordEncoder.encode_event` writes, as long as all texts are printable ASCII without escapes and no number is
# so large that its bound would have to be looked at.
_TEXT: Final = r"[ !#-\[\]-~]"
_NUMBER: Final = r"[1-9][0-9]{0,17}+"
_PLAIN_EVENT: Final = re.compile(
    (
        rf'\{{"event_id":"({_UUID})","event_type":("{_TEXT}{{1,{MAX_EVENT_TYPE_CHARACTERS}}}+"),'
        rf'"client_timestamp":(?:null|("{_TEXT}*+")),"occurred_at":"({_INSTANT})","received_at":"({_INSTANT})",'
        rf'"course_id":"({_NUMBER})","quiz_id":"({_NUMBER})","submission_id":"({_NUMBER})",'
        rf'"attempt":(?:null|([1-9][0-9]{{0,3}}+)),"actor":(?:null|("{_TEXT}*+")),"event_data":(.*)\}}'
    ).encode(),
    re.DOTALL,
)
_EVENT_DECODER: Final = msgspec.json.Decoder(StoredEvent, strict=False)
_QUARANTINE_DECODER: Final = msgspec.json.Decoder(QuarantinedElement, strict=False)


def _cut(value: bytes | None, separator: bytes) -> tuple[bytes, bytes]:
    if value is None:
        raise UnreadableRecord("record_empty")
    head, found, tail = value.partition(separator)
    if not found or not tail.endswith(b"}"):
        raise UnreadableRecord("record_malformed")
    return head + b"}", tail[:-1]


def decode_event(value: bytes | None) -> StoredEvent:
    """Read an event's record. The JSON of `event_data` is not parsed: PostgreSQL does that.

    Raises:
        UnreadableRecord: the value does not keep the contract.

    """
    head, event_data = _cut(value, _EVENT_DATA)
    try:
        event = _EVENT_DECODER.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableRecord("record_malformed") from None
    event.event_data = event_data
    return event


def cut_event(value: bytes) -> Sequence[bytes] | None:
    """Cut an event's record into the values of its eleven members, in the order in which `RecordEncoder` writes them.

    The values of `event_type`, `client_timestamp` and `actor` are in quotation marks; null is no bytes. None where the
    record has another form: then `decode_event`, which gives the same members much more slowly, decides.
    """
    found = _PLAIN_EVENT.fullmatch(value)
    return None if found is None else found.groups(b"")


def decode_quarantined(value: bytes | None) -> QuarantinedElement:
    """Read a quarantined element's record.

    Raises:
        UnreadableRecord: the value does not keep the contract.

    """
    head, raw = _cut(value, _RAW)
    try:
        element = _QUARANTINE_DECODER.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableRecord("record_malformed") from None
    element.raw = raw
    return element
