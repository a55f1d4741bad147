"""A log in memory behind the seam `quizstream.runtime.kafka.Producer`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from quizstream.contracts.records import Record
from quizstream.runtime.kafka import MAX_BATCH_BYTES, Batch, KafkaFailure, KafkaUnreachable, Producer, ProducerBroken

HEADER_BYTES = 61  # of a record batch of Kafka


class FakeKafka:
    """Brokers that can be slow, gone, or refuse; `batches` are those written, by topic and partition, in order."""

    def __init__(self) -> None:
        self.batches: dict[tuple[str, int], list[list[Record]]] = defaultdict(list)
        self.unreachable = False
        self.connected = 0
        self.open = asyncio.Event()
        self.open.set()
        # What becomes of the next batches: written, refused or broken before, or written and then broken.
        self.outcomes: list[KafkaFailure | None] = []
        self.written_though_broken = False
        self.given = 0
        self.given_bytes = 0
        self.most_given_bytes = 0

    def records(self, topic: str, partition: int) -> list[Record]:
        return [record for batch in self.batches[topic, partition] for record in batch]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Producer]:
        if self.unreachable:
            raise KafkaUnreachable("no_broker")
        self.connected += 1
        producer = FakeProducer(self)
        try:
            yield producer
        finally:
            await producer.close()


class FakeProducer:
    """Like the real one: after its end what is undecided is broken."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._undecided: set[asyncio.Future[None]] = set()

    def create_batch(self, topic: str, partition: int) -> Batch:
        return FakeBatch(self._kafka, self._undecided, (topic, partition))

    async def check(self) -> None:
        if self._kafka.unreachable:
            raise KafkaUnreachable("no_broker")

    async def close(self) -> None:
        await asyncio.sleep(0)  # what the brokers have taken is acknowledged
        for undecided in tuple(self._undecided):
            if not undecided.done():
                undecided.set_exception(ProducerBroken("producer_closed"))


class FakeBatch:
    """Full as a real batch is: the first record is always taken."""

    def __init__(self, kafka: FakeKafka, undecided: set[asyncio.Future[None]], place: tuple[str, int]) -> None:
        self._kafka = kafka
        self._undecided = undecided
        self._place = place
        self._records: list[Record] = []
        self._bytes = HEADER_BYTES

    def append(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> bool:
        size = len(key) + len(value) + sum(len(name) + len(content) + 2 for name, content in headers) + 10
        if self._records and self._bytes + size > MAX_BATCH_BYTES:
            return False
        self._records.append(Record(key, value, headers))
        self._bytes += size
        return True

    async def write(self) -> None:
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._undecided.add(decided)
        decided.add_done_callback(self._undecided.discard)
        task = asyncio.create_task(self._reach(decided))  # as in the real one, no caller can stop it
        decided.add_done_callback(lambda _: task.cancel())
        await asyncio.shield(decided)

    async def _reach(self, decided: asyncio.Future[None]) -> None:
        kafka = self._kafka
        kafka.given += 1
        kafka.given_bytes += self._bytes
        kafka.most_given_bytes = max(kafka.most_given_bytes, kafka.given_bytes)
        try:
            await kafka.open.wait()
        finally:
            kafka.given_bytes -= self._bytes
        outcome = kafka.outcomes.pop(0) if kafka.outcomes else None
        if outcome is None or kafka.written_though_broken:
            kafka.batches[self._place].append(self._records)
        if outcome is None:
            decided.set_result(None)
        else:
            decided.set_exception(outcome)
