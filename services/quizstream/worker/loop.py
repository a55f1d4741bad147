"""The worker's loop: place, gather, flush, commit; in this order, with the next batch gathered during a flush."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from quizstream.runtime import crash_points
from quizstream.runtime.postgres import UNREACHABLE
from quizstream.worker.batch import Batch, Gathered, TopicPartition, pack
from quizstream.worker.cursor import Cursor, TopicMadeAnew
from quizstream.worker.decode import LogRecord, decode
from quizstream.worker.flush import FIRST_PAUSE_SECONDS, Flusher, Stopped, pause
from quizstream.worker.observe import Observer
from quizstream.worker.store import Position

log: Final = structlog.get_logger(__name__)

RECORDS_PER_POLL: Final = 250  # about 2 ms, between which the flush under way goes on; and they fit the CPU's caches
IDLE_SECONDS: Final = 0.5
WRITING_POLL_SECONDS: Final = 0.01  # while a flush is under way more is gathered; so late may its end be noticed


class Bounds(NamedTuple):
    """How much one transaction holds and how long its first record waits for others."""

    rows: int
    size_bytes: int
    after_seconds: float


class Source(Protocol):
    """What is needed of the log; `log.Log` says what these promise."""

    @property
    def has_unplaced(self) -> bool:
        """Whether partitions wait for `place`."""
        ...

    def take_unplaced(self) -> set[TopicPartition]:
        """Give the partitions that wait for `place`, once."""
        ...

    def put_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Let partitions wait for `place` again."""
        ...

    def assigned(self) -> set[TopicPartition]:
        """Give the partitions that are ours now."""
        ...

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Give the first offset of each partition's log and the one after its last."""
        ...

    def place(self, partition: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on."""
        ...

    async def poll(self, max_records: int, wait_seconds: float) -> Mapping[TopicPartition, Sequence[LogRecord]]:
        """Give what has arrived; nothing after `wait_seconds`."""
        ...

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Tell the group how far the store is; give what it took."""
        ...


class Positions(Protocol):
    """What is needed of the store beside the writing; `store.Store` says what these promise."""

    @property
    def was_interrupted(self) -> bool:
        """Whether the session that gave the positions has ended."""
        ...

    async def positions(self, beginnings: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        """Give where partitions stand."""
        ...


class Loop:
    """Takes records from the log and writes them to the store until it is told to stop."""

    def __init__(
        self,
        source: Source,
        store: Positions,
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
        self._left_out: dict[TopicPartition, int] = {}
        self._gathered = Gathered()
        self._flushing: asyncio.Task[None] | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until `stopping` is set; what was gathered then is written first if the store takes it.

        Raises:
            TopicMadeAnew: the log is not the one that the store was filled from.

        """
        try:
            while not stopping.is_set():
                await self._step(stopping)
            await self._written()
        except Stopped:
            return
        finally:
            await self._abandon_flush()

    async def _step(self, stopping: asyncio.Event) -> None:
        """Gather a batch while the one before is written, and begin to write it when that is done."""
        if self._store.was_interrupted:
            self._log.put_back(self._log.assigned())
        try:
            await self._place()
            await self._gather()
        except KafkaError as error:
            log.warning("kafka_failed", error=type(error).__name__)
            await pause(stopping, FIRST_PAUSE_SECONDS)
        else:
            await self._written()
            self._begin_flush()

    async def _place(self) -> None:
        """Begin to read what was newly assigned, from where the store says."""
        if not self._log.has_unplaced:
            return
        await self._written()  # the store does one thing at a time
        unplaced = self._log.take_unplaced()
        for key in unplaced:
            self._forget(key)
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

    async def _gather(self) -> None:
        """Collect records until there are enough, or the first has waited long enough and the store is free."""
        deadline = time.monotonic() + (self._bounds.after_seconds if self._gathered.rows else IDLE_SECONDS)
        while self._has_room and not self._log.has_unplaced:
            self._read_left_out_again()
            wait_seconds = max(deadline - time.monotonic(), WRITING_POLL_SECONDS if self._is_flushing else 0)
            if wait_seconds <= 0:
                break
            begins = not self._gathered.rows
            await self._poll(wait_seconds)
            if begins and self._gathered.rows:
                deadline = time.monotonic() + self._bounds.after_seconds

    @property
    def _has_room(self) -> bool:
        return self._gathered.rows < self._bounds.rows and self._gathered.size_bytes < self._bounds.size_bytes

    async def _poll(self, wait_seconds: float) -> None:
        fetched = await self._log.poll(min(RECORDS_PER_POLL, self._bounds.rows - self._gathered.rows), wait_seconds)
        for key, records in fetched.items():
            if cursor := self._cursors.get(key):
                self._take(cursor, records)
        await asyncio.sleep(0)  # to heartbeats, and to the flush under way

    def _take(self, cursor: Cursor, records: Sequence[LogRecord]) -> None:
        begin = cursor.expected
        admitted = cursor.admit(records)
        entries = [decode(record, quarantine_topic=self._quarantine_topic) for record in admitted]
        self._gathered.add(cursor.partition, begin, entries)
        if cursor.expected <= records[-1].offset:
            log.warning("records_missing", **cursor.partition._asdict(), expected=cursor.expected)
            self._read_from(cursor.partition, cursor.expected)

    @property
    def writing(self) -> bool:
        """Whether records that have come are not written yet."""
        return self._is_flushing or bool(self._gathered.rows)

    @property
    def _is_flushing(self) -> bool:
        return self._flushing is not None and not self._flushing.done()

    def _begin_flush(self) -> None:
        if batch := self._gathered.batch():
            self._gathered = Gathered()
            crash_points.reached("worker_after_poll")
            self._observer.gathered(batch)
            self._flushing = asyncio.create_task(self._flush(batch), name="flush")

    async def _written(self) -> None:
        """Wait for the flush under way.

        Raises:
            Stopped: the process is to end, and the store does not take the batch.

        """
        if self._flushing is not None:
            await self._flushing
            self._flushing = None

    async def _abandon_flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)

    async def _flush(self, batch: Batch) -> None:
        for packed in pack(batch, self._bounds.rows, self._bounds.size_bytes):
            begun = time.monotonic()
            async for written in self._flusher.flush(packed):
                self._observer.flushed(written, time.monotonic() - begun)
                begun = time.monotonic()
                self._left_out |= written.left_out
                self._observer.committed(await self._log.commit(written.next_offsets))

    def _read_left_out_again(self) -> None:
        """Read anew what a flush has left out.

        Done between two polls, as what has been polled already is from elsewhere and would pass for what the log has
        at the place sought; what was gathered does not continue the store, either.
        """
        for key, offset in self._left_out.items():
            log.warning("partition_left_out", topic=key.topic, partition=key.partition, stored=offset)
            self._gathered.drop(key)
            self._read_from(key, offset)
        self._left_out = {}

    def _read_from(self, key: TopicPartition, offset: int) -> None:
        self._cursors[key] = Cursor(key, offset)
        self._log.place(key, offset)

    def _forget(self, key: TopicPartition) -> None:
        self._cursors.pop(key, None)
        self._left_out.pop(key, None)
        self._gathered.drop(key)


def _within(position: Position, bounds: tuple[int, int]) -> bool:
    first, end = bounds
    return first <= position.next_offset <= end


def _outside(position: Position, bounds: tuple[int, int]) -> str:
    return f"the store expects record {position.next_offset}, and the log holds {bounds[0]} to {bounds[1] - 1}"
