"""What one flush writes: consecutive records of some partitions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from quizstream.worker.event import Event

RawKind = Literal["element", "record"]


class TopicPartition(NamedTuple):
    """A partition of a topic; the order of these is the order in which their offsets are locked."""

    topic: str
    partition: int


class QuarantineRow(NamedTuple):
    """A row of `quarantined_events`, in the order of its columns in the statement `quarantine`."""

    quarantine_id: str
    submission_id: int | None
    course_id: int | None
    quiz_id: int | None
    attempt: int | None
    actor: str | None
    received_at: datetime
    reason: str
    sqlstate: str | None
    element_index: int | None
    topic: str
    partition: int
    record_offset: int
    raw_kind: RawKind
    raw: bytes


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record, decoded: an event to store, or what goes to quarantine in its stead."""

    offset: int
    appended_at_ms: int
    value: bytes
    content: Event | QuarantineRow


class PartitionBatch(NamedTuple):
    """Consecutive records of one partition, at least one; `first_offset` is where the stored offset must stand."""

    partition: TopicPartition
    first_offset: int
    entries: Sequence[Entry]

    @property
    def next_offset(self) -> int:
        """Where the stored offset stands afterwards."""
        return self.entries[-1].offset + 1

    def events(self) -> list[Event]:
        """Give the events among the records, in order."""
        return [entry.content for entry in self.entries if isinstance(entry.content, Event)]


Batch = Sequence[PartitionBatch]


class Gathered:
    """Records that wait to be written."""

    def __init__(self) -> None:
        self._parts: dict[TopicPartition, tuple[int, list[Entry]]] = {}
        self.rows = 0
        self.size_bytes = 0

    def add(self, partition: TopicPartition, first_offset: int, entries: Sequence[Entry]) -> None:
        """Take records that continue what is there of their partition, or else begin at `first_offset`."""
        self._parts.setdefault(partition, (first_offset, []))[1].extend(entries)
        self._count(entries, 1)

    def drop(self, partition: TopicPartition) -> None:
        """Let go of a partition's records."""
        _, entries = self._parts.pop(partition, (0, ()))
        self._count(entries, -1)

    def batch(self) -> Batch:
        """Give what is there, in the order in which offsets are locked."""
        return [PartitionBatch(key, first, entries) for key, (first, entries) in sorted(self._parts.items()) if entries]

    def _count(self, entries: Sequence[Entry], sign: int) -> None:
        self.rows += sign * len(entries)
        self.size_bytes += sign * sum(len(entry.value) for entry in entries)


def count_rows(batch: Batch) -> int:
    """Count the records of a batch."""
    return sum(len(part.entries) for part in batch)


def split(batch: Batch, rows: int) -> Iterator[Batch]:
    """Cut a batch into batches of one partition and at most `rows` records each, in the order of their offsets."""
    for partition, first_offset, entries in batch:
        begin = first_offset
        for start in range(0, len(entries), rows):
            part = PartitionBatch(partition, begin, entries[start : start + rows])
            begin = part.next_offset
            yield (part,)


def pack(batch: Batch, rows: int, size_bytes: int) -> Iterator[Batch]:
    """Cut a batch into batches under both bounds; a record that is larger than the bound goes alone."""
    if count_rows(batch) <= rows and sum(len(entry.value) for part in batch for entry in part.entries) <= size_bytes:
        yield from filter(None, (batch,))
        return
    packed: list[PartitionBatch] = []
    free_rows, free_bytes = rows, size_bytes
    for partition, first_offset, entries in batch:
        begin, start = first_offset, 0
        for index, entry in enumerate(entries):
            if free_rows < 1 or free_bytes < len(entry.value):
                if index > start:
                    packed.append(PartitionBatch(partition, begin, entries[start:index]))
                    begin, start = packed[-1].next_offset, index
                if packed:
                    yield packed
                packed, free_rows, free_bytes = [], rows, size_bytes
            free_rows -= 1
            free_bytes -= len(entry.value)
        packed.append(PartitionBatch(partition, begin, entries[start:]))
    if packed:
        yield packed
