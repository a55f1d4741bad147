"""From the elements of a request to the records of the two topics."""

from typing import Final, NamedTuple

from quizstream.contracts.events import CapturedEvent, Origin, UnusableElement
from quizstream.contracts.identity import identify, identify_unusable
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.records import Record, RecordEncoder
from quizstream.contracts.topics import quarantine_topic
from quizstream.gateway.publish import Shipment
from quizstream.gateway.submission import SLICE_BYTES, Sliced, Submission

# An event costs about 4 us beside its bytes, as much as 1 KiB: a slice of small events has 200 and takes 1 ms.
EVENT_BYTES: Final = 1_024
SLICE_EVENTS: Final = 200


class Target(NamedTuple):
    """Where records go and how ids are made."""

    topic: str
    partitions: int
    recognise_redelivery: bool


class Encoded(NamedTuple):
    """The records of one request; `skew_seconds` is how far its newest stamp lies ahead of its receipt."""

    shipments: list[Shipment]
    skew_seconds: float


def encode_slices(submission: Submission, origin: Origin, target: Target) -> Sliced[Encoded]:
    """Give every event and every unusable element its id and its record, in order."""
    encoder = RecordEncoder(origin)
    partition = partition_of(origin.resource.submission_id, target.partitions)
    events, skew_seconds = yield from _events(submission.events, encoder, origin, target)
    unusable = (yield from _unusable(submission.unusable, encoder, origin)) if submission.unusable else []
    destinations = ((target.topic, events), (quarantine_topic(target.topic), unusable))
    return Encoded([Shipment(topic, partition, records) for topic, records in destinations if records], skew_seconds)


def _events(
    events: list[CapturedEvent], encoder: RecordEncoder, origin: Origin, target: Target
) -> Sliced[tuple[list[Record], float]]:
    records: list[Record] = []
    newest = None
    slice_bytes = 0
    recognise = target.recognise_redelivery
    for identified in identify(origin.resource, events, origin.received_at, recognise_redelivery=recognise):
        record = encoder.encode_event(identified)
        records.append(record)
        if newest is None or identified.occurred_at > newest:
            newest = identified.occurred_at
        slice_bytes += len(record.value) + EVENT_BYTES
        if slice_bytes >= SLICE_BYTES:
            slice_bytes = 0
            yield
    return records, (newest - origin.received_at).total_seconds() if newest is not None else 0.0


def _unusable(elements: list[UnusableElement], encoder: RecordEncoder, origin: Origin) -> Sliced[list[Record]]:
    records: list[Record] = []
    for identified in identify_unusable(origin.resource, elements):
        records.append(encoder.encode_quarantined(identified))
        if len(records) % SLICE_EVENTS == 0:
            yield
    return records
