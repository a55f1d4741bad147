"""The way back from quarantine: through the ordinary topic, with the original owner, times and id.

Exactly once, however often it is tried: the id of the event is that of the row (of a record: its own), and its time is
computed from what was sent and the original receipt, so a second replay is recognised as any re-delivery is. Records
name the row, and the worker settles it in the transaction of the event.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from quizstream.contracts.depth import is_too_deep
from quizstream.contracts.events import CapturedEvent
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.records import Record, StoredEvent, UnreadableRecord, decode_event, encode_replayed
from quizstream.contracts.timestamps import format_instant, occurred_at, parse_client_timestamp
from quizstream.runtime import crash_points
from quizstream.runtime.kafka import KafkaUnreachable, Producer
from quizstream.runtime.postgres import Connection
from quizstream.worker.quarantine import Quarantined, Selection, find, mark_replayed, payloads

# What is held at a time: 500 rows, or 16 MiB of them, or one larger row.
ROWS_AT_A_TIME: Final = 500
BYTES_AT_A_TIME: Final = 16 * 2**20
PUBLISH_SECONDS: Final = 30.0

ReadElement = Callable[[bytes], CapturedEvent | str]
"""Gives the event that an element's JSON text is by today's rules, or the reason why it is none."""


class Replayed(NamedTuple):
    """What was sent again, and what is unusable still, by reason."""

    sent: int
    unusable: Mapping[str, int]


class Destination(NamedTuple):
    """Where events are published."""

    producer: Producer
    topic: str
    partitions: int


class Rules(NamedTuple):
    """How elements are read; `event_type` is given to those that have no usable one."""

    read_element: ReadElement
    event_type: str | None = None


def as_event(row: Quarantined, raw: bytes, rules: Rules) -> StoredEvent:
    """Give the event that a row is by today's rules.

    Raises:
        UnreadableRecord: it is none; the reason is that of today.

    """
    event = decode_event(raw) if row.raw_kind == "record" else _from_element(row, raw, rules)
    if is_too_deep(event.event_data):
        raise UnreadableRecord("event_data_too_deep")
    event.replayed, event.quarantine_id = True, str(row.quarantine_id)
    return event


def _from_element(row: Quarantined, raw: bytes, rules: Rules) -> StoredEvent:
    captured = _capture(raw, rules)
    if isinstance(captured, str):
        raise UnreadableRecord(captured)
    if row.course_id is None or row.quiz_id is None or row.submission_id is None:
        raise UnreadableRecord("owner_unknown")
    filed_at = occurred_at(parse_client_timestamp(captured.client_timestamp), row.received_at)
    return StoredEvent(
        event_id=str(row.quarantine_id),
        event_type=captured.event_type,
        client_timestamp=captured.client_timestamp,
        occurred_at=format_instant(filed_at),
        received_at=format_instant(row.received_at),
        course_id=row.course_id,
        quiz_id=row.quiz_id,
        submission_id=row.submission_id,
        attempt=row.attempt,
        actor=row.actor,
        event_data=captured.event_data,
    )


def _capture(raw: bytes, rules: Rules) -> CapturedEvent | str:
    captured = rules.read_element(raw)
    if isinstance(captured, str) and rules.event_type is not None and raw.lstrip()[:1] == b"{":
        return rules.read_element(with_event_type(raw, rules.event_type))
    return captured


def with_event_type(raw: bytes, event_type: str) -> bytes:
    """Give the text of a JSON object with another `event_type`: added last, where it counts instead of any before."""
    members = raw.strip()[1:-1].strip()
    separator = b"," if members else b""
    return b"{%b%b" % (members, separator) + b'"event_type":%b}' % msgspec.json.encode(event_type)


async def replay(session: Connection, selection: Selection, rules: Rules, destination: Destination) -> Replayed:
    """Send what fits through the topic again, in the order of receipt.

    Interrupted or repeated it stores nothing twice.

    Raises:
        asyncpg.PostgresError: the store refuses.
        KafkaFailure: the brokers do not take it.

    """
    rows = sorted(await find(session, selection), key=lambda row: (row.received_at, row.record_offset))
    sent, unusable = 0, Counter[str]()
    for some in _portions(rows):
        records = await _prepare(session, some, rules, unusable)
        await mark_replayed(session, list(records))
        crash_points.reached("replay_before_publish")
        await _publish(list(records.values()), destination)
        crash_points.reached("replay_after_publish")
        sent += len(records)
    return Replayed(sent, unusable)


def _portions(rows: Sequence[Quarantined]) -> Iterator[list[Quarantined]]:
    portion: list[Quarantined] = []
    size_bytes = 0
    for row in rows:
        if portion and (len(portion) == ROWS_AT_A_TIME or size_bytes + row.raw_bytes > BYTES_AT_A_TIME):
            yield portion
            portion, size_bytes = [], 0
        portion.append(row)
        size_bytes += row.raw_bytes
    if portion:
        yield portion


async def _prepare(
    session: Connection, rows: Sequence[Quarantined], rules: Rules, unusable: Counter[str]
) -> dict[UUID, Record]:
    raws = await payloads(session, [row.quarantine_id for row in rows])
    records: dict[UUID, Record] = {}
    for row in rows:
        raw = raws.get(row.quarantine_id)
        if raw is None:
            continue  # settled or dropped meanwhile
        try:
            records[row.quarantine_id] = encode_replayed(as_event(row, raw, rules))
        except UnreadableRecord as unreadable:
            unusable[unreadable.reason] += 1
    return records


async def _publish(records: Sequence[Record], destination: Destination) -> None:
    by_partition: dict[int, list[Record]] = {}
    for record in records:
        by_partition.setdefault(partition_of(int(record.key), destination.partitions), []).append(record)
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            for partition, some in by_partition.items():
                await _write(some, partition, destination)
    except TimeoutError:
        raise KafkaUnreachable("not_acknowledged_in_time") from None


async def _write(records: Sequence[Record], partition: int, destination: Destination) -> None:
    batch = destination.producer.create_batch(destination.topic, partition)
    for record in records:
        if not batch.append(record.key, record.value, record.headers):
            await batch.write()
            batch = destination.producer.create_batch(destination.topic, partition)
            batch.append(record.key, record.value, record.headers)
    await batch.write()
