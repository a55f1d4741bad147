"""The worker's loop: place, gather, flush, commit; in this order and nothing else."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from quizstream.runtime import crash_points
from quizstream.runtime.postgres import UNREACHABLE
from quizstream.worker.batch import Batch, Entry, PartitionBatch, TopicPartition, pack
from quizstream.worker.cursor import Cursor, RecordsMissing, TopicMadeAnew
from quizstream.worker.decode import LogRecord, decode
from quizstream.worker.flush import FIRST_PAUSE_SECONDS, Flusher, Stopped, pause
from quizstream.worker.log import Log
from quizstream.worker.observe import Observer
from quizstream.worker.store import Position, Store

log: Final = structlog.get_logger(__name__)

RECORDS_PER_POLL: Final = 1_000
RECORDS_PER_SLICE: Final = 250  # decoding these takes about 1 ms: heartbeats go on between slices
IDLE_SECONDS: Final = 0.5


class Bounds(NamedTuple):
    """How much one transaction holds and how long its first record waits for others."""

    rows: int
    size_bytes: int
    after_seconds: float


class Loop:
    """Takes records from the log and writes them to the store until it is told to stop."""

    def __init__(
        self,
        source: Log,
        store: Store,
        flusher: Flusher,
        observer: Observer,
        *,
        bounds: Bounds,
        quarantine_topic: str,
    ) -> None:
        self._log = source
        self._store = store
        self._flusher = flusher
        self._observer = observer
        self._bounds = bounds
        self._quarantine_topic = quarantine_topic
        self._cursors: dict[TopicPartition, Cursor] = {}
        self.writing = False  # from the end of gathering to that of the flush

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until `stopping` is set; what was gathered then is written first if the store takes it.

        Raises:
            TopicMadeAnew: the log is not the one that the store was filled from.

        """
        while not stopping.is_set():
            self.writing = False
            if self._store.was_interrupted:
                self._log.put_back(self._log.assigned())
            try:
                await self._place()
                for batch in pack(await self._gather(), self._bounds.rows, self._bounds.size_bytes):
                    await self._flush(batch)
            except Stopped:
                return
            except KafkaError as error:
                log.warning("kafka_failed", error=type(error).__name__)
                await pause(stopping, FIRST_PAUSE_SECONDS)

    async def _place(self) -> None:
        """Begin to read what was newly assigned, from where the store says."""
        unplaced = self._log.take_unplaced()
        if not unplaced:
            return
        self._cursors = {key: cursor for key, cursor in self._cursors.items() if key not in unplaced}
        try:
            bounds = await self._log.bounds(unplaced)
            positions = await self._store.positions({key: first for key, (first, _) in bounds.items()})
        except (KafkaError, asyncpg.PostgresError, *UNREACHABLE) as error:
            log.warning("placing_failed", error=type(error).__name__)
            self._log.put_back(unplaced)
            await asyncio.sleep(IDLE_SECONDS)
            return
        begun = [key for key, position in positions.items() if position.next_offset]
        if begun and not any(_within(positions[key], bounds[key]) for key in begun):
            raise TopicMadeAnew(begun[0], _outside(positions[begun[0]], bounds[begun[0]]))
        for key, position in positions.items():
            self._start(key, position, bounds[key])
        self._observer.placed(positions)

    def _start(self, key: TopicPartition, position: Position, bounds: tuple[int, int]) -> None:
        if not _within(position, bounds):
            log.error("partition_stopped", topic=key.topic, partition=key.partition, reason=_outside(position, bounds))
            self._observer.partition_stopped(key)
            return
        first, _ = bounds
        checked = position.last_appended_at_ms if position.next_offset > first else None
        cursor = Cursor(key, position.next_offset, checked)
        self._cursors[key] = cursor
        self._log.place(key, cursor.read_from)

    async def _gather(self) -> Batch:
        """Collect records until there are enough or the first has waited long enough."""
        gathered: dict[TopicPartition, tuple[int, list[Entry]]] = {}
        rows = size_bytes = 0
        deadline = time.monotonic() + IDLE_SECONDS
        while rows < self._bounds.rows and size_bytes < self._bounds.size_bytes and not self._log.has_unplaced:
            wait_seconds = deadline - time.monotonic()
            if wait_seconds <= 0:
                break
            fetched = await self._log.poll(min(RECORDS_PER_POLL, self._bounds.rows - rows), wait_seconds)
            if fetched and not rows:
                deadline = time.monotonic() + self._bounds.after_seconds
            for key, records in fetched.items():
                entries = await self._take(key, records, gathered)
                rows += len(entries)
                size_bytes += sum(len(entry.value) for entry in entries)
        batch = [PartitionBatch(key, first, entries) for key, (first, entries) in sorted(gathered.items()) if entries]
        self._observer.gathered(batch)
        self.writing = bool(batch)
        if batch:
            crash_points.reached("worker_after_poll")
        return batch

    async def _take(
        self,
        key: TopicPartition,
        records: Sequence[LogRecord],
        gathered: dict[TopicPartition, tuple[int, list[Entry]]],
    ) -> list[Entry]:
        cursor = self._cursors.get(key)
        if cursor is None:
            return []
        _, collected = gathered.setdefault(key, (cursor.expected, []))
        entries: list[Entry] = []
        try:
            for start in range(0, len(records), RECORDS_PER_SLICE):
                slice_ = records[start : start + RECORDS_PER_SLICE]
                entries += [decode(record, quarantine_topic=self._quarantine_topic) for record in cursor.admit(slice_)]
                await asyncio.sleep(0)
        except RecordsMissing:
            log.warning("records_missing", topic=key.topic, partition=key.partition, expected=cursor.expected)
            self._read_again(key, cursor.expected)
        collected += entries
        return entries

    async def _flush(self, batch: Batch) -> None:
        begun = time.monotonic()
        async for written in self._flusher.flush(batch):
            self._observer.flushed(written, time.monotonic() - begun)
            begun = time.monotonic()
            for key, offset in written.left_out.items():
                log.warning("partition_left_out", topic=key.topic, partition=key.partition, stored=offset)
                self._read_again(key, offset)
            await self._log.commit(written.next_offsets)

    def _read_again(self, key: TopicPartition, offset: int) -> None:
        self._cursors[key] = Cursor(key, offset)
        self._log.place(key, offset)


def _within(position: Position, bounds: tuple[int, int]) -> bool:
    first, end = bounds
    return first <= position.next_offset <= end


def _outside(position: Position, bounds: tuple[int, int]) -> str:
    return f"the store expects record {position.next_offset}, and the log holds {bounds[0]} to {bounds[1] - 1}"
