"""What waits for one partition, and how it is gathered into batches.

While one batch is on its way, what arrives meanwhile becomes the next one: batches grow with the load and nothing waits
for a timer. One batch at a time is what keeps the order of a submission's events, also when a batch must be sent again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, NamedTuple

import structlog

from quizstream.contracts.errors import TryLater
from quizstream.contracts.records import Record
from quizstream.gateway.producers import Producers
from quizstream.gateway.room import Room
from quizstream.runtime.kafka import MAX_BATCH_BYTES, Batch, BatchRefused, Producer, ProducerBroken

# Key, six headers with their names, and the lengths that Kafka writes: at most 350 bytes a record.
RECORD_OVERHEAD_BYTES: Final = 350
_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def size_of(records: Sequence[Record]) -> int:
    """Give about how many bytes records take in memory and in a batch."""
    return sum(len(record.value) for record in records) + RECORD_OVERHEAD_BYTES * len(records)


class Delivery:
    """One request's records: `done` when all parcels are acknowledged, or with the reason why not."""

    __slots__ = ("_outstanding", "deadline", "done")

    def __init__(self, parcels: int, deadline: float) -> None:
        self._outstanding = parcels
        self.deadline = deadline
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def acknowledge_parcel(self) -> None:
        """Take note that one parcel is written."""
        self._outstanding -= 1
        if not self._outstanding and not self.done.done():
            self.done.set_result(None)

    def fail(self) -> None:
        """Let the client try again."""
        if not self.done.done():
            late = "The events could not be stored in time."
            self.done.set_exception(TryLater("log_unavailable", late))


class Parcel:
    """A request's records for one partition; the first `acknowledged` of them are written."""

    __slots__ = ("acknowledged", "delivery", "records", "size_bytes")

    def __init__(self, records: Sequence[Record], delivery: Delivery) -> None:
        self.records = records
        self.size_bytes = size_of(records)
        self.delivery = delivery
        self.acknowledged = 0

    def append_to(self, batch: Batch) -> int:
        """Append what is not written yet, as far as it fits; give the index of the first record that did not."""
        for index in range(self.acknowledged, len(self.records)):
            record = self.records[index]
            if not batch.append(record.key, record.value, record.headers):
                return index
        return len(self.records)


class Load(NamedTuple):
    """A filled batch: its parcels, each with the index behind its last record in it."""

    batch: Batch
    portions: list[tuple[Parcel, int]]


class Means(NamedTuple):
    """What lanes share. `on_batch` hears of each batch whether it was acknowledged; `spawn` runs a task.

    A batch that is not acknowledged `stuck_after_seconds` after it was given away is given up, with its producer.
    """

    producers: Producers
    room: Room
    spawn: Callable[[Coroutine[None, None, None]], object]
    on_batch: Callable[[bool], None]
    stuck_after_seconds: float


class Lane:
    """The queue of one partition, emptied in the order in which parcels came."""

    def __init__(self, topic: str, partition: int, means: Means) -> None:
        self._topic = topic
        self._partition = partition
        self._means = means
        self._waiting: dict[Parcel, None] = {}  # an ordered set: parcels leave from anywhere
        self._running = False

    def accept(self, parcel: Parcel) -> None:
        """Send a parcel after all that wait already."""
        self._waiting[parcel] = None
        if not self._running:
            self._running = True
            self._means.spawn(self._run())

    def withdraw(self, parcel: Parcel) -> None:
        """Forget a parcel whose request is answered; what a producer was given of it may still be written."""
        self._waiting.pop(parcel, None)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._send_next()
        finally:
            self._running = False

    async def _send_next(self) -> None:
        producer = await self._means.producers.current()
        most_bytes = self._next_bytes()
        await self._means.room.enter(most_bytes)
        try:
            load = self._fill(producer, most_bytes)
            if load.portions:
                await self._write(producer, load)
        finally:
            self._means.room.leave(most_bytes)

    def _next_bytes(self) -> int:
        """Give the most that the next batch can take: a record larger than a batch travels alone."""
        first = next(iter(self._waiting), None)
        return max(MAX_BATCH_BYTES, size_of(first.records[first.acknowledged : first.acknowledged + 1]) if first else 0)

    def _fill(self, producer: Producer, most_bytes: int) -> Load:
        """Fill a batch with whole requests; one that is larger than a batch is cut and goes on in the next."""
        load = Load(producer.create_batch(self._topic, self._partition), [])
        self._drop_late()
        if self._next_bytes() > most_bytes:
            return load  # another parcel is first by now
        free_bytes = MAX_BATCH_BYTES
        for parcel in self._waiting:
            if load.portions and parcel.size_bytes > free_bytes:
                break
            end = parcel.append_to(load.batch)
            load.portions.append((parcel, end))
            if end < len(parcel.records):
                break
            free_bytes -= parcel.size_bytes
        return load

    def _drop_late(self) -> None:
        """Answer those whose deadline has passed, but whose timer has not been heard yet: they must not be given."""
        now = asyncio.get_running_loop().time()
        for parcel in [parcel for parcel in self._waiting if parcel.delivery.deadline <= now]:
            parcel.delivery.fail()
            self.withdraw(parcel)

    async def _write(self, producer: Producer, load: Load) -> None:
        """Write a batch. Where that fails its parcels still wait, and are sent again before any later one."""
        try:
            async with asyncio.timeout(self._means.stuck_after_seconds):
                await load.batch.write()
        except BatchRefused as refused:
            _log.error("batch_refused", topic=self._topic, partition=self._partition, reason=refused.reason)
            self._fail(producer, refused.reason)
            self._give_up(load)
        except ProducerBroken as broken:
            self._fail(producer, broken.reason)
        except TimeoutError:
            self._fail(producer, "stuck")
        else:
            self._acknowledge(load)

    def _fail(self, producer: Producer, reason: str) -> None:
        self._means.on_batch(False)  # noqa: FBT003  the outcome itself
        self._means.producers.replace(producer, reason)

    def _give_up(self, load: Load) -> None:
        for parcel, _end in load.portions:
            parcel.delivery.fail()
            self.withdraw(parcel)

    def _acknowledge(self, load: Load) -> None:
        self._means.on_batch(True)  # noqa: FBT003  as above
        for parcel, end in load.portions:
            parcel.acknowledged = end
            if end == len(parcel.records):
                self.withdraw(parcel)
                parcel.delivery.acknowledge_parcel()
