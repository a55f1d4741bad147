"""Publishing: a request is answered when all in-sync replicas have all of its records, or at its deadline."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final, NamedTuple

from quizstream.contracts.errors import TryLater
from quizstream.contracts.records import Record
from quizstream.gateway.deadlines import Deadlines
from quizstream.gateway.lane import Delivery, Lane, Means, Parcel
from quizstream.gateway.measures import Measures
from quizstream.gateway.producers import Connect, Producers
from quizstream.gateway.room import Room
from quizstream.runtime.kafka import KafkaUnreachable

# Kafka takes requests of at most 100 MiB (socket.request.max.bytes), and aiokafka puts one batch of every partition
# into a request: 48 MiB are two of the largest events beside 15 full batches.
MAX_UNACKNOWLEDGED_BYTES: Final = 48 * 2**20
# A batch that takes so long has outlived all its requests, but an idempotent producer would send it for ever.
STUCK_AFTER_SECONDS: Final = 10.0
# So long the last failure speaks louder than brokers that answer questions, but take no batches.
FAILURE_COUNTS_SECONDS: Final = 5.0


class Shipment(NamedTuple):
    """Records of one request for one partition, at least one, written in their order."""

    topic: str
    partition: int
    records: Sequence[Record]


class Publisher:
    """Takes the records of requests and tells when they are durable. `run` must run beside it."""

    def __init__(
        self, connect: Connect, measures: Measures, *, stuck_after_seconds: float = STUCK_AFTER_SECONDS
    ) -> None:
        self._measures = measures
        self._producers = Producers(connect)
        self._means = Means(
            self._producers, Room(MAX_UNACKNOWLEDGED_BYTES), self._spawn, self._note_batch, stuck_after_seconds
        )
        self._clock = asyncio.get_running_loop().time
        self._deadlines = Deadlines(self._expire)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._tasks = asyncio.TaskGroup()
        self._failed_at: float | None = None

    async def run(self) -> None:
        """Work until cancelled, which leaves what is on its way `kafka.FLUSH_TIMEOUT_SECONDS`."""
        async with self._tasks:
            await self._producers.keep()

    async def publish(self, shipments: Sequence[Shipment], *, deadline: float) -> None:
        """Return once every record is acknowledged by all in-sync replicas; `deadline` is a time of the event loop.

        What no producer has been given when the call ends, for whatever reason, is dropped; what one has may still
        be written.

        Raises:
            TryLater: it was not done by the deadline, or the brokers refused.

        """
        began = self._clock()
        if not shipments:
            return
        if began >= deadline:
            raise TryLater("too_late", "The events could not be worked in time.")
        delivery = Delivery(len(shipments), deadline)
        self._deadlines.add(delivery)
        parcels = [(self._lane(shipment), Parcel(shipment.records, delivery)) for shipment in shipments]
        try:
            for lane, parcel in parcels:
                lane.accept(parcel)
            await delivery.done
            self._measures.publish_seconds.observe(self._clock() - began)
        finally:
            self._deadlines.remove(delivery)
            for lane, parcel in parcels:
                lane.withdraw(parcel)

    async def check(self) -> None:
        """Return while batches can be expected to be taken.

        Raises:
            KafkaUnreachable: there is no producer, no broker answers it, or requests have just failed.

        """
        now = self._clock()
        if self._failed_at is not None and now - self._failed_at < FAILURE_COUNTS_SECONDS:
            raise KafkaUnreachable("requests_failed")
        if not self._producers.available:
            raise KafkaUnreachable("no_producer")
        await (await self._producers.current()).check()

    def _lane(self, shipment: Shipment) -> Lane:
        key = (shipment.topic, shipment.partition)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(*key, self._means)
        return lane

    def _spawn(self, work: Coroutine[None, None, None]) -> object:
        return self._tasks.create_task(work)

    def _expire(self, delivery: Delivery) -> None:
        self._failed_at = self._clock()
        delivery.fail()

    def _note_batch(self, acknowledged: bool) -> None:  # noqa: FBT001  the outcome itself
        if acknowledged:
            self._failed_at = None
            self._measures.batches_acknowledged.inc()
        else:
            self._measures.batches_failed.inc()
