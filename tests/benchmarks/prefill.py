"""Topics filled before a measurement begins, with what the gateway would have written."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from tests.benchmarks.bursts import Burst, records
from tests.benchmarks.rows import line_of, row_id
from tests.benchmarks.scene import Scene

from quizstream.contracts.partitions import partition_of
from quizstream.contracts.records import Record

PARTITIONS = 12
_BATCH_BYTES = 200_000  # what a busy gateway puts into one
_UNACKNOWLEDGED = 24


@dataclass(frozen=True)
class Topic:
    """A topic and what is in it. `log_bytes` are those of its batches on one replica, `rows` the different events."""

    name: str
    records: int
    rows: int
    value_bytes: int
    log_bytes: int


@asynccontextmanager
async def filled(scene: Scene, sent: Iterable[Burst], count: int, lines: Path | None = None) -> AsyncIterator[Topic]:
    """Give a new topic with `count` records of `sent`, or a few more, and write their rows into the file `lines`."""
    name = await scene.topic(partitions=PARTITIONS)
    try:
        yield await _fill(scene.bootstrap_servers, name, sent, count, lines)
    finally:
        await scene.remove_topic(name)


async def _fill(bootstrap_servers: str, name: str, sent: Iterable[Burst], count: int, lines: Path | None) -> Topic:
    kept: list[bytes] = []
    seen: set[bytes] = set()
    async with _filling(bootstrap_servers, name) as topic:
        for burst in sent:
            for record in records(burst):
                identifier = await topic.write(record)
                seen.add(dict(record.headers)["ce_id"])
                if lines:
                    kept.append(line_of(record, identifier))
            if topic.records >= count:
                break
    if lines:
        await asyncio.to_thread(lines.write_bytes, b"".join(kept))
    return Topic(name, topic.records, len(seen), topic.value_bytes, topic.log_bytes)


@asynccontextmanager
async def _filling(bootstrap_servers: str, name: str) -> AsyncIterator["_Filling"]:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, max_batch_size=_BATCH_BYTES
    )
    async with producer:
        topic = _Filling(producer, name)
        yield topic
        await topic.finish()


class _Filling:
    """Puts records into batches, batches into partitions; knows the offset of each."""

    def __init__(self, producer: AIOKafkaProducer, name: str) -> None:
        self._producer = producer
        self._name = name
        self._batches = [producer.create_batch() for _ in range(PARTITIONS)]
        self._offsets = [0] * PARTITIONS
        self._sent: list[asyncio.Future[object]] = []
        self.records = self.value_bytes = self.log_bytes = 0

    async def write(self, record: Record) -> int:
        """Write a record; give the id that its row gets."""
        key, value = record.key, record.value
        partition = partition_of(int(key), PARTITIONS)
        while self._batches[partition].append(timestamp=None, key=key, value=value, headers=record.headers) is None:
            await self._send(partition)
        self.records += 1
        self.value_bytes += len(value)
        offset = self._offsets[partition]
        self._offsets[partition] += 1
        return row_id(partition, offset)

    async def finish(self) -> None:
        """Write what is left, and wait until all is acknowledged."""
        for partition in range(PARTITIONS):
            await self._send(partition)
        await asyncio.gather(*self._sent)

    async def _send(self, partition: int) -> None:
        batch, self._batches[partition] = self._batches[partition], self._producer.create_batch()
        if not batch.record_count():
            return
        self.log_bytes += batch.size()
        self._sent.append(await self._producer.send_batch(batch, self._name, partition=partition))
        if len(self._sent) >= _UNACKNOWLEDGED:
            await asyncio.gather(*self._sent)
            self._sent.clear()
