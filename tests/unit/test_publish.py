"""What the gateway's publisher promises, on a log in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fake_kafka import FakeKafka
from tests.waiting import eventually

from quizstream.contracts.errors import TryLater
from quizstream.contracts.metrics import GATEWAY_METRICS
from quizstream.contracts.records import Record
from quizstream.gateway.lane import Delivery, Lane, Means, Parcel, size_of
from quizstream.gateway.measures import Measures
from quizstream.gateway.producers import Producers
from quizstream.gateway.publish import MAX_UNACKNOWLEDGED_BYTES, Publisher, Shipment
from quizstream.gateway.room import Room
from quizstream.runtime.kafka import MAX_BATCH_BYTES, BatchRefused, KafkaUnreachable, ProducerBroken
from quizstream.runtime.telemetry import Meters

TOPIC = "events"
SOON = 0.05  # a deadline that passes while a test waits
FAR = 30.0


def record(value: bytes, size: int = 0) -> Record:
    return Record(b"7", value.ljust(size), [("ce_id", b"x" * 36)])


def request(number: int, records: int = 1, size: int = 0, partition: int = 0, topic: str = TOPIC) -> Shipment:
    return Shipment(topic, partition, [record(b"%d.%d" % (number, index), size) for index in range(records)])


def values(records: Iterable[Record]) -> list[bytes]:
    return [record.value.rstrip() for record in records]


@asynccontextmanager
async def publishing(kafka: FakeKafka, stuck_after_seconds: float = 10.0) -> AsyncIterator[Publisher]:
    publisher = Publisher(kafka.connect, Measures(Meters(GATEWAY_METRICS)), stuck_after_seconds=stuck_after_seconds)
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    try:
        yield publisher
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def publish(publisher: Publisher, *shipments: Shipment, within: float = FAR) -> asyncio.Task[None]:
    deadline = asyncio.get_running_loop().time() + within
    return asyncio.create_task(publisher.publish(shipments, deadline=deadline))


async def until(check: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return check()

    await eventually(asked)


async def outcome(task: Awaitable[None]) -> bool:
    try:
        await task
    except TryLater:
        return False
    return True


async def test_a_request_is_answered_only_after_the_acknowledgement() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        task = publish(publisher, request(1))
        await until(lambda: kafka.given == 1)
        assert not task.done()
        kafka.open.set()
        await task
    assert values(kafka.records(TOPIC, 0)) == [b"1.0"]


async def test_what_arrives_while_a_batch_is_on_its_way_is_the_next_batch() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        first = publish(publisher, request(0))
        await until(lambda: kafka.given == 1)
        others = [publish(publisher, request(number, records=2)) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        kafka.open.set()
        await asyncio.gather(first, *others)
    assert list(map(values, kafka.batches[TOPIC, 0])) == [[b"0.0"], [b"1.0", b"1.1", b"2.0", b"2.1", b"3.0", b"3.1"]]


async def test_partitions_do_not_wait_for_one_another() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        tasks = [publish(publisher, request(1, partition=partition)) for partition in range(3)]
        await until(lambda: kafka.given == 3)
        kafka.open.set()
        await asyncio.gather(*tasks)


async def test_both_topics_of_a_request_must_be_acknowledged() -> None:
    kafka = FakeKafka()
    async with publishing(kafka) as publisher:
        kafka.outcomes = [None, BatchRefused("too_large")]
        assert not await outcome(publish(publisher, request(1), request(1, topic="quarantine")))
        assert await outcome(publish(publisher, request(2), request(2, topic="quarantine")))
    assert values(kafka.records("quarantine", 0)) == [b"2.0"]


async def test_nothing_to_publish_is_done_at_once() -> None:
    async with publishing(FakeKafka()) as publisher:
        await publisher.publish([], deadline=0.0)


sizes = st.sampled_from([0, 100, 5_000, 300_000, 449_000, 899_000, 1_000_000, 3_000_000])


@settings(max_examples=60)
@given(st.lists(st.lists(sizes, min_size=1, max_size=8), min_size=1, max_size=8))
def test_every_record_is_written_once_and_in_order_whatever_the_sizes(requests: list[list[int]]) -> None:
    shipments = [
        Shipment(TOPIC, 0, [record(b"%d.%d" % (number, index), size) for index, size in enumerate(request_sizes)])
        for number, request_sizes in enumerate(requests)
    ]
    kafka = FakeKafka()

    async def run() -> None:
        async with publishing(kafka) as publisher:
            await asyncio.gather(*(publish(publisher, shipment) for shipment in shipments))

    asyncio.run(run())
    sent = [one for shipment in shipments for one in shipment.records]
    assert kafka.records(TOPIC, 0) == sent
    for batch in kafka.batches[TOPIC, 0]:
        assert len(batch) == 1 or sum(len(one.value) for one in batch) <= MAX_BATCH_BYTES
    for shipment in shipments:
        if size_of(shipment.records) <= MAX_BATCH_BYTES - 100:
            assert sum(1 for batch in kafka.batches[TOPIC, 0] if shipment.records[0] in batch) == 1
            assert any(all(one in batch for one in shipment.records) for batch in kafka.batches[TOPIC, 0])


async def test_at_the_deadline_the_client_is_told_to_come_again() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        with pytest.raises(TryLater) as refused:
            await publish(publisher, request(1), within=SOON)
        assert refused.value.headers["Retry-After"].isdecimal()


async def test_what_no_producer_was_given_by_the_deadline_is_never_written() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        given = publish(publisher, request(1))
        await until(lambda: kafka.given == 1)
        late = publish(publisher, request(2), within=SOON)
        assert not await outcome(late)
        kafka.open.set()
        await given
        await publish(publisher, request(3))
    assert values(kafka.records(TOPIC, 0)) == [b"1.0", b"3.0"]


async def test_a_request_that_comes_after_its_deadline_is_refused_unwritten() -> None:
    kafka = FakeKafka()
    async with publishing(kafka) as publisher:
        assert not await outcome(publish(publisher, request(1), within=-1.0))
        await publish(publisher, request(2))
    assert values(kafka.records(TOPIC, 0)) == [b"2.0"]


async def test_a_deadline_counts_though_its_timer_is_late() -> None:
    kafka = FakeKafka()
    producers = Producers(kafka.connect)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(producers.keep())
        lane = Lane(TOPIC, 0, Means(producers, Room(MAX_UNACKNOWLEDGED_BYTES), tasks.create_task, lambda _: None, FAR))
        late = Delivery(1, deadline=asyncio.get_running_loop().time() - 1)  # without a timer
        lane.accept(Parcel([record(b"late")], late))
        with pytest.raises(TryLater):
            await late.done
        keeping.cancel()
    assert kafka.given == 0


async def test_a_client_that_leaves_takes_back_only_what_was_not_given() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        given = publish(publisher, request(1))
        await until(lambda: kafka.given == 1)
        waiting = publish(publisher, request(2))
        await asyncio.sleep(0)
        for task in (given, waiting):
            task.cancel()
        await asyncio.wait((given, waiting))
        kafka.open.set()
        await publish(publisher, request(3))
    assert values(kafka.records(TOPIC, 0)) == [b"1.0", b"3.0"]


async def test_a_broken_producer_is_replaced_and_its_batch_sent_again_before_later_ones() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    kafka.outcomes = [ProducerBroken("OutOfOrderSequenceNumber")]
    async with publishing(kafka) as publisher:
        first = publish(publisher, request(1))
        await until(lambda: kafka.given == 1)
        second = publish(publisher, request(2))
        await asyncio.sleep(0)
        kafka.open.set()
        await asyncio.gather(first, second)
    assert values(kafka.records(TOPIC, 0)) == [b"1.0", b"2.0"]
    assert kafka.connected == 2


async def test_a_batch_that_the_broker_refuses_is_answered_at_once_and_the_next_passes() -> None:
    kafka = FakeKafka()
    kafka.outcomes = [BatchRefused("MessageSizeTooLargeError")]
    async with publishing(kafka) as publisher:
        assert not await outcome(publish(publisher, request(1)))
        assert await outcome(publish(publisher, request(2)))
    assert values(kafka.records(TOPIC, 0)) == [b"2.0"]
    assert kafka.connected == 2  # the refused batch used up a sequence number


async def test_when_a_partition_breaks_its_producer_the_others_lose_nothing() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    kafka.outcomes = [ProducerBroken("UnknownProducerId")]
    async with publishing(kafka) as publisher:
        tasks = [publish(publisher, request(1, partition=partition)) for partition in range(4)]
        await until(lambda: kafka.given == 4)
        kafka.open.set()
        await asyncio.gather(*tasks)
    assert [values(kafka.records(TOPIC, partition)) for partition in range(4)] == [[b"1.0"]] * 4


async def test_a_stuck_batch_blocks_its_partition_only_for_a_while() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka, stuck_after_seconds=2 * SOON) as publisher:
        assert not await outcome(publish(publisher, request(1), within=SOON))
        await until(lambda: kafka.connected == 2)
        kafka.open.set()
        await publish(publisher, request(2))
    assert values(kafka.records(TOPIC, 0))[-1] == b"2.0"


async def test_an_outage_answers_503_holds_nothing_and_heals_without_a_restart() -> None:
    kafka = FakeKafka()
    async with publishing(kafka, stuck_after_seconds=SOON) as publisher:
        await publish(publisher, request(0))
        kafka.open.clear()
        kafka.unreachable = True
        for number in range(1, 6):
            assert not await outcome(publish(publisher, request(number), within=SOON))
        with pytest.raises(KafkaUnreachable):
            await publisher.check()
        written = len(kafka.records(TOPIC, 0))
        kafka.unreachable = False
        kafka.open.set()
        await publish(publisher, request(9))
        await publisher.check()
    late = values(kafka.records(TOPIC, 0))[written:]
    assert late[-1] == b"9.0"
    assert set(late) <= {b"1.0", b"9.0"}  # only what a producer had been given


async def test_a_start_without_brokers_serves_as_soon_as_there_are_some() -> None:
    kafka = FakeKafka()
    kafka.unreachable = True
    async with publishing(kafka) as publisher:
        assert not await outcome(publish(publisher, request(1), within=SOON))
        kafka.unreachable = False
        await publish(publisher, request(2))
    assert values(kafka.records(TOPIC, 0)) == [b"2.0"]


async def test_producers_hold_no_more_than_a_broker_takes_in_one_request() -> None:
    kafka = FakeKafka()
    kafka.open.clear()
    async with publishing(kafka) as publisher:
        tasks = [publish(publisher, request(1, size=16 * 2**20, partition=partition)) for partition in range(6)]
        await until(lambda: kafka.given == 2)
        kafka.open.set()
        await asyncio.gather(*tasks)
    assert kafka.most_given_bytes <= MAX_UNACKNOWLEDGED_BYTES


breakages = st.lists(st.sampled_from(["ok", "broken", "broken but written"]), max_size=3)


@settings(max_examples=25)
@given(breakages, st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_whatever_breaks_acknowledged_requests_are_whole_and_in_order(fates: list[str], requests: list[int]) -> None:
    kafka = FakeKafka()
    kafka.outcomes = [None if fate == "ok" else ProducerBroken(fate) for fate in fates]
    kafka.written_though_broken = "broken but written" in fates
    shipments = [request(number, records, size=300_000) for number, records in enumerate(requests)]

    async def run() -> None:
        async with publishing(kafka) as publisher:
            await asyncio.gather(*(publish(publisher, shipment) for shipment in shipments))

    asyncio.run(run())
    firsts = list(dict.fromkeys(values(kafka.records(TOPIC, 0))))
    assert firsts == [value for shipment in shipments for value in values(shipment.records)]


@pytest.mark.parametrize("fault", [RuntimeError("a bug")])
async def test_a_bug_in_a_lane_ends_the_publisher(fault: Exception) -> None:
    kafka = FakeKafka()
    publisher = Publisher(kafka.connect, Measures(Meters(GATEWAY_METRICS)))
    running = asyncio.create_task(publisher.run())
    await until(lambda: kafka.connected == 1)
    kafka.outcomes = [fault]  # type: ignore[list-item]  # not a failure of Kafka
    assert not await outcome(publish(publisher, request(1), within=SOON))
    with pytest.raises(ExceptionGroup):
        await running
