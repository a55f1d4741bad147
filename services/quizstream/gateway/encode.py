"""From the elements of a request to the records of the two topics."""

from typing import Final, NamedTuple

from quizstream.contracts.events import CapturedEvent, Origin, UnusableElement
from quizstream.contracts.identity import identify, identify_unusable
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.records import Record, RecordEncoder
from quizstream.contracts.topics import quarantine_topic
from quizstream.gateway.publish import Shipment
from quizstream.gateway.submission import SLICE_BYTES, Sliced, Submission

# An event costs about 5 us beside its bytes: a slice of 200 is 1 ms.
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
    unusable = yield from _unusable(submission.unusable, encoder, origin)
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
        records.append(encoder.encode_event(identified))
        newest = identified.occurred_at if newest is None else max(newest, identified.occurred_at)
        slice_bytes += len(records[-1].value)
        if slice_bytes >= SLICE_BYTES or len(records) % SLICE_EVENTS == 0:
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
