"""What one flush writes: consecutive records of some partitions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from quizstream.contracts.records import StoredEvent

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


class Entry(NamedTuple):
    """A record, decoded: an event to store, or what goes to quarantine in its stead."""

    offset: int
    appended_at_ms: int
    value: bytes
    content: StoredEvent | QuarantineRow


class PartitionBatch(NamedTuple):
    """Consecutive records of one partition, at least one; `first_offset` is where the stored offset must stand."""

    partition: TopicPartition
    first_offset: int
    entries: Sequence[Entry]

    @property
    def next_offset(self) -> int:
        """Where the stored offset stands afterwards."""
        return self.entries[-1].offset + 1


Batch = Sequence[PartitionBatch]


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
