"""The loop between a log and a store that behave as they are told: what it writes is the log, without a hole."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.factories import FakeRecord, event_record
from tests.waiting import eventually

from quizstream.contracts.metrics import WORKER_METRICS
from quizstream.runtime.telemetry import Meters
from quizstream.worker.batch import Batch, TopicPartition
from quizstream.worker.decode import LogRecord
from quizstream.worker.flush import Flusher
from quizstream.worker.loop import Bounds, Loop
from quizstream.worker.observe import Observer
from quizstream.worker.store import Position, Written

KEYS = (TopicPartition("events", 0), TopicPartition("events", 1))
VALUE = event_record().value


class FakeLog:
    """Two partitions whose records have the given offsets; a poll gives at most `polled` of each partition."""

    def __init__(self, offsets: Sequence[Sequence[int]], polled: int) -> None:
        self._records = {
            key: [FakeRecord(offset, value=VALUE, partition=key.partition) for offset in some]
            for key, some in zip(KEYS, offsets, strict=True)
        }
        self._polled = polled
        self._unplaced = set(KEYS)
        self._positions: dict[TopicPartition, int] = {}

    @property
    def has_unplaced(self) -> bool:
        return bool(self._unplaced)

    def take_unplaced(self) -> set[TopicPartition]:
        unplaced, self._unplaced = self._unplaced, set()
        return unplaced

    def put_back(self, partitions: Iterable[TopicPartition]) -> None:
        self._unplaced |= set(partitions)

    def assigned(self) -> set[TopicPartition]:
        return set(KEYS)

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        return {key: (0, max((record.offset for record in self._records[key]), default=-1) + 1) for key in partitions}

    def place(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def poll(self, max_records: int, wait_seconds: float) -> Mapping[TopicPartition, Sequence[LogRecord]]:
        await asyncio.sleep(0)
        fetched: dict[TopicPartition, Sequence[LogRecord]] = {}
        for key, position in self._positions.items():
            some = [record for record in self._records[key] if record.offset >= position][
                : min(self._polled, max_records)
            ]
            if some:
                fetched[key] = some
                self._positions[key] = some[-1].offset + 1
        if not fetched:
            await asyncio.sleep(min(wait_seconds, 0.001))
        return fetched

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        return next_offsets


class FakeStore:
    """Takes what continues it, one thing at a time, and nothing out of order.

    Before each write it is set back by as many records as told, and the session ends with that.
    """

    def __init__(self, moved: Iterable[int] = ()) -> None:
        self._moved = iter(moved)
        self.rows: dict[TopicPartition, list[int]] = {key: [] for key in KEYS}
        self.next_offsets = dict.fromkeys(KEYS, 0)
        self.free = asyncio.Event()
        self.free.set()
        self.was_interrupted = False
        self._busy = asyncio.Lock()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        assert not self._busy.locked()
        async with self._busy:
            await asyncio.sleep(0)
            yield

    async def positions(self, beginnings: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        async with self._alone():
            self.was_interrupted = False
            return {key: Position(self.next_offsets[key], None) for key in beginnings}

    async def write(
        self, batch: Batch, *, isolate: bool = False, also_refused: Collection[str] = frozenset()
    ) -> Written:
        assert (isolate, also_refused) == (False, frozenset())
        assert all(a.offset < b.offset for one in batch for a, b in pairwise(one.entries))
        async with self._alone():
            await self.free.wait()
        self._set_back(next(self._moved, 0))
        taken = [one for one in batch if one.first_offset == self.next_offsets[one.partition]]
        for one in taken:
            self.rows[one.partition] += [entry.offset for entry in one.entries]
            self.next_offsets[one.partition] = one.next_offset
        left_out = {one.partition: self.next_offsets[one.partition] for one in batch if one not in taken}
        return Written({one.partition: one.next_offset for one in taken}, left_out, 0, 0, [], merged=False)

    async def ping(self) -> None:
        pass

    def _set_back(self, records: int) -> None:
        self.was_interrupted = self.was_interrupted or records > 0
        for key in KEYS if records else ():
            self.rows[key] = self.rows[key][:-records]
            self.next_offsets[key] = self.rows[key][-1] + 1 if self.rows[key] else 0


@asynccontextmanager
async def looping(log: FakeLog, store: FakeStore, rows: int) -> AsyncIterator[Loop]:
    stopping = asyncio.Event()

    async def make_no_months(months: Collection[str]) -> bool:
        raise AssertionError(months)

    flusher = Flusher(store, make_no_months, stopping, lambda _: None)
    bounds = Bounds(rows, 2**20, 0.002)
    loop = Loop(log, store, flusher, Observer(Meters(WORKER_METRICS)), bounds=bounds, quarantine_topic="quarantine")
    task = asyncio.create_task(loop.run(stopping))
    try:
        yield loop
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


offsets = st.sets(st.integers(0, 40)).map(sorted)


@given(st.tuples(offsets, offsets), st.integers(1, 9), st.integers(1, 12), st.lists(st.integers(0, 6), max_size=12))
async def test_what_is_written_is_the_log_without_a_hole(
    written: tuple[list[int], list[int]], polled: int, rows: int, moved: list[int]
) -> None:
    store = FakeStore(moved)

    async def complete() -> bool:
        return [store.rows[key] for key in KEYS] == [*written]

    async with looping(FakeLog(written, polled), store, rows):
        await eventually(complete)


async def test_the_next_batch_is_gathered_while_one_is_written_and_no_more_than_that() -> None:
    store = FakeStore()
    store.free.clear()
    log = FakeLog([range(100), []], polled=5)
    async with looping(log, store, rows=10):

        async def ahead() -> bool:
            return log._positions.get(KEYS[0]) == 20

        await eventually(ahead)
        for _ in range(50):
            await asyncio.sleep(0)
        assert await ahead()
        assert store.rows[KEYS[0]] == []
        store.free.set()

        async def complete() -> bool:
            return store.rows[KEYS[0]] == [*range(100)]

        await eventually(complete)


async def test_partitions_are_placed_only_when_the_flush_under_way_has_ended() -> None:
    store = FakeStore()
    store.free.clear()
    log = FakeLog([range(30), range(30)], polled=5)
    async with looping(log, store, rows=10) as loop:

        async def flushing() -> bool:
            return loop.writing and log._positions.get(KEYS[1], 0) > 0

        await eventually(flushing)
        log.put_back(KEYS)
        for _ in range(50):
            await asyncio.sleep(0)
        store.free.set()

        async def complete() -> bool:
            return [store.rows[key] for key in KEYS] == [[*range(30)], [*range(30)]]

        await eventually(complete)
