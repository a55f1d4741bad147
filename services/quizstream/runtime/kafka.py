"""Kafka: writing batches that are acknowledged by all in-sync replicas, and describing and making topics.

aiokafka carries no types; beside `kafka_access` and the worker's consumer this is the only module that touches it.

    KafkaFailure
    ├── KafkaUnreachable   no broker answered in time
    │   └── KafkaRefused   one did, and will not have us with these settings
    ├── BatchRefused       the broker will never take this batch, and has not written it
    ├── ProducerBroken     the producer must be replaced; whether the batch was written is unknown
    └── TopicNotMade       the cluster refused to make a topic
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from quizstream.runtime.kafka_access import KafkaAccess

# A broker's own default limit of a batch is 1,048,588 bytes: below it, only a single large record needs more.
MAX_BATCH_BYTES: Final = 900_000
# After it the connection is given up and the batch sent again on another. A pause of the network heals within it.
REQUEST_TIMEOUT_SECONDS: Final = 5.0
START_TIMEOUT_SECONDS: Final = 10.0
END_OF_START_SECONDS: Final = 1.0
# How long a producer that is replaced, or stopped, may still wait for acknowledgements.
FLUSH_TIMEOUT_SECONDS: Final = 2.0
CLOSE_TIMEOUT_SECONDS: Final = REQUEST_TIMEOUT_SECONDS + 1
# Until what the controller decided is known to every broker.
TOPIC_VISIBLE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1

_REFUSALS: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError)


class KafkaFailure(Exception):  # noqa: N818  the tree above names situations
    """Kafka could not do what was asked. `reason` names the situation and quotes no record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KafkaUnreachable(KafkaFailure):
    """No broker answered in time."""


class KafkaRefused(KafkaUnreachable):
    """A broker will not have us with these settings: certificates, user, password or token. Time does not heal it."""


class BatchRefused(KafkaFailure):
    """The broker will never take this batch, and has not written it.

    The producer is broken as well: the batch has used up a sequence number that the broker still waits for.
    """


class ProducerBroken(KafkaFailure):
    """The producer must be replaced; whether the batch was written is unknown."""


class TopicNotMade(KafkaFailure):
    """The cluster refused to make a topic."""


class Batch(Protocol):
    """Records that are written to one partition together, or not at all."""

    def append(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> bool:
        """Add a record; False where the batch is full. The first record is always taken, whatever its size."""
        ...

    async def write(self) -> None:
        """Return once all in-sync replicas have the batch; in an outage this may last until the producer is closed.

        Cancelling the call does not cancel the write.

        Raises:
            BatchRefused: it was not written and never will be.
            ProducerBroken: it may have been written.

        """
        ...


class Producer(Protocol):
    """Writes batches, in the order given for each partition."""

    def create_batch(self, topic: str, partition: int) -> Batch:
        """Give an empty batch of at most `MAX_BATCH_BYTES`, or of one larger record."""
        ...

    async def check(self) -> None:
        """Return when a broker has answered.

        Raises:
            KafkaUnreachable: none did.

        """
        ...


class TopicShape(NamedTuple):
    """A topic as it is or should be. `replication_factor` is the lowest of its partitions."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class _Builder(Protocol):
    """What is used of aiokafka's `BatchBuilder`."""

    def append(
        self, *, timestamp: int | None, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> object | None: ...


class _Batch:
    def __init__(self, producer: "_Producer", builder: _Builder, topic: str, partition: int) -> None:
        self._producer = producer
        self._builder = builder
        self._topic = topic
        self._partition = partition

    def append(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> bool:
        return self._builder.append(timestamp=None, key=key, value=value, headers=headers) is not None

    async def write(self) -> None:
        acknowledged = await self._producer.hand_over(self._builder, self._topic, self._partition)
        await acknowledged


class _Producer:
    def __init__(self, client: AIOKafkaProducer) -> None:
        self._client = client
        self._unacknowledged: set[asyncio.Future[None]] = set()

    def create_batch(self, topic: str, partition: int) -> Batch:
        return _Batch(self, self._client.create_batch(), topic, partition)

    async def hand_over(self, builder: _Builder, topic: str, partition: int) -> asyncio.Future[None]:
        try:
            if partition not in await self._client.partitions_for(topic):
                raise ProducerBroken("partition_missing")  # aiokafka would assert
            sent: asyncio.Future[object] = await self._client.send_batch(builder, topic, partition=partition)
        except KafkaError as error:
            raise _failure(error) from error
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unacknowledged.add(acknowledged)
        acknowledged.add_done_callback(self._unacknowledged.discard)
        sent.add_done_callback(partial(_settle, acknowledged))
        return acknowledged

    async def check(self) -> None:
        try:
            await self._client.client.fetch_all_metadata()
        except KafkaError as error:
            raise KafkaUnreachable(type(error).__name__) from error

    async def close(self) -> None:
        """Wait a little for what is on its way, then leave the rest undecided."""
        await _stop(self._client)
        for acknowledged in tuple(self._unacknowledged):
            if not acknowledged.done():
                acknowledged.set_exception(ProducerBroken("producer_closed"))


def _settle(acknowledged: asyncio.Future[None], sent: asyncio.Future[object]) -> None:
    error = ProducerBroken("cancelled") if sent.cancelled() else sent.exception()
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(_failure(error))


def _failure(error: BaseException) -> KafkaFailure:
    reason = type(error).__name__
    return BatchRefused(reason) if isinstance(error, _REFUSALS) else ProducerBroken(reason)


async def _stop(client: AIOKafkaProducer) -> None:
    """Stop a producer in bounded time.

    `stop()` alone would wait for every batch, and batches of an idempotent producer never expire.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
            await client.flush()
            await client.stop()
            return
    client._closed = True  # noqa: SLF001  nothing public ends a producer without a flush
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await client._sender.close()  # noqa: SLF001  as above
    await client.client.close()


async def start(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start a client, and let that come to its end also when it is cancelled.

    Raises:
        KafkaError, OSError, TimeoutError: no broker answered within `START_TIMEOUT_SECONDS`.

    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.wait((starting,), timeout=START_TIMEOUT_SECONDS)
    finally:
        if not starting.done():  # a start that is cancelled leaves its first connection open
            await asyncio.wait((starting,), timeout=END_OF_START_SECONDS)
        starting.cancel()
        await asyncio.wait((starting,))
    if starting.cancelled():
        raise TimeoutError
    starting.result()


def _options(access: KafkaAccess) -> Mapping[str, object]:
    try:
        return access.client_options()
    except KafkaError as error:
        raise KafkaRefused(str(error)) from error


@contextmanager
def ended_by_us_only() -> Iterator[None]:
    """Take a cancellation that nobody asked for as the failure that it is.

    aiokafka cancels whoever waits for a connection that it gives up; a task would pass for one that was told to end.

    Raises:
        KafkaConnectionError: a connection was given up.

    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise KafkaConnectionError from None


@asynccontextmanager
async def producer(access: KafkaAccess, *, client_id: str) -> AsyncIterator[Producer]:
    """Give an idempotent producer whose writes are acknowledged by all in-sync replicas.

    At the end what is on its way has `FLUSH_TIMEOUT_SECONDS`; writes that are undecided then raise `ProducerBroken`.

    Raises:
        KafkaUnreachable: no broker answered within `START_TIMEOUT_SECONDS`.

    """
    client = AIOKafkaProducer(
        **_options(access),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        request_timeout_ms=round(REQUEST_TIMEOUT_SECONDS * 1000),
    )
    try:
        await start(client)
    except (KafkaError, OSError, TimeoutError) as error:
        await client.stop()
        raise KafkaUnreachable(type(error).__name__) from error
    except asyncio.CancelledError:
        await client.stop()
        raise
    started = _Producer(client)
    try:
        yield started
    finally:
        await started.close()


@asynccontextmanager
async def _admin(access: KafkaAccess) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**_options(access), request_timeout_ms=round(REQUEST_TIMEOUT_SECONDS * 1000))
    try:
        with ended_by_us_only():
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await client.start()
            yield client
    except (KafkaError, OSError, TimeoutError) as error:
        if reason := await access.refusal():
            raise KafkaRefused(reason) from error
        raise KafkaUnreachable(type(error).__name__) from error
    finally:
        await client.close()


async def describe_topic(access: KafkaAccess, name: str) -> TopicShape | None:
    """Read a topic's partitions and its settings in force, the broker's defaults among them; None where it is missing.

    Raises:
        KafkaUnreachable: no broker answered; `KafkaRefused` where one did and will not have us.

    """
    async with _admin(access) as admin:
        return await _describe(admin, name)


async def _describe(admin: AIOKafkaAdminClient, name: str) -> TopicShape | None:
    configs = await _configs(admin, name)
    # Asked for after the settings only: a broker may make a topic whose partitions are asked for.
    topics = await admin.describe_topics([name]) if configs is not None else []
    partitions: list[dict[str, list[int]]] = topics[0]["partitions"] if topics else []
    if configs is None or not partitions:
        return None
    return TopicShape(name, len(partitions), min(len(partition["replicas"]) for partition in partitions), configs)


async def _configs(admin: AIOKafkaAdminClient, name: str) -> Mapping[str, str] | None:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    code, _message, _type, _name, entries = answer.resources[0]
    if for_code(code) is UnknownTopicOrPartitionError:
        return None
    if code:
        raise for_code(code)
    return {entry[0]: entry[1] for entry in entries if entry[1] is not None}


async def ensure_topics(access: KafkaAccess, topics: Sequence[TopicShape]) -> list[str]:
    """Make the topics that are missing, leave the others as they are, and return the names of those made.

    Several callers at a time do no harm. When this returns the brokers know all partitions.

    Raises:
        KafkaUnreachable: no broker answered; `KafkaRefused` where one did and will not have us.
        TopicNotMade: the cluster refused, for example for want of brokers.

    """
    async with _admin(access) as admin:
        missing = [topic for topic in topics if await _describe(admin, topic.name) is None]
        if not missing:
            return []
        made = await _create(admin, missing)
        async with asyncio.timeout(TOPIC_VISIBLE_SECONDS):
            for topic in missing:
                await _until_visible(admin, topic.name)
        return made


async def _until_visible(admin: AIOKafkaAdminClient, name: str) -> None:
    while True:
        if await _describe(admin, name) is not None:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[TopicShape]) -> list[str]:
    wanted = [
        NewTopic(topic.name, topic.partitions, topic.replication_factor, topic_configs=dict(topic.configs))
        for topic in topics
    ]
    answer = await admin.create_topics(wanted)
    made: list[str] = []
    for name, code, _message in answer.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise TopicNotMade(f"{name}: {for_code(code).__name__}")
        if not code:
            made.append(name)
    return made
