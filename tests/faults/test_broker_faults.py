"""Kafka killed, paused and cut off while students post."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest
from tests.faults import plays
from tests.faults.ledger import Content, Element
from tests.faults.load import Habits
from tests.faults.observe import log_ends, positions, rows
from tests.faults.operating import delete_group, delete_records, gain_partitions, log_begin, page, red, set_topic
from tests.faults.scenario import Scenario
from tests.faults.services import Deployment
from tests.waiting import eventually, scaled

from quizstream.contracts.partitions import partition_of
from quizstream.contracts.topics import MAX_MESSAGE_BYTES

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)


@pytest.mark.faults(broken="broker killed and started again")
async def test_a_killed_broker_loses_nothing_that_was_acknowledged(scenario: Scenario) -> None:
    await plays.kill_broker(scenario)


@pytest.mark.faults(broken="broker killed and started again, 4 times")
async def test_a_broker_killed_again_and_again_loses_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for _ in range(4):
        await scenario.acked(scenario.chance.randint(100, 600))
        await scenario.deployment.stage.kafka.kill()
        scenario.did("broker killed")
        await scenario.deployment.stage.kafka.start()
        await scenario.healed(seconds=20)
    await scenario.finish()


@pytest.mark.parametrize("seconds", [5, 60])
@pytest.mark.faults(broken="broker stopped for 5 s, for 60 s")
async def test_a_broker_that_stands_still_doubles_nothing(scenario: Scenario, seconds: int) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(400)
    scenario.deployment.stage.kafka.pause()
    scenario.did(f"broker stopped for {seconds} s")
    await asyncio.sleep(seconds)  # the fault lasts that long
    scenario.deployment.stage.kafka.resume()
    await scenario.healed(seconds=10 if seconds == 5 else 20)
    await scenario.acked(300)
    await scenario.finish()


@pytest.mark.parametrize("name", ["gateway-kafka", "worker-kafka"])
@pytest.mark.faults(broken="link of one process to the broker: slow, throttled, half open, cut, reset")
async def test_a_bad_link_to_the_broker_is_survived(scenario: Scenario, name: str) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    link = scenario.deployment.stage.links[name]
    link.delay_seconds = 0.05
    scenario.did("50 ms more")
    await scenario.acked(300)
    link.delay_seconds, link.bytes_per_second = 0.0, 200_000
    scenario.did("200 kB/s")
    await scenario.acked(300)
    link.heal()
    for fault, act in (("half open", link.half_open), ("cut", link.cut)):
        act()
        scenario.did(f"{name} {fault}")
        if name == "gateway-kafka":
            await scenario.outage_answered()
        else:
            await asyncio.sleep(8)  # the fault lasts that long: more than the worker's session
        link.heal()
        await scenario.healed(seconds=20)
    for _ in range(5):
        link.reset()
        scenario.did("connections reset")
        await scenario.acked(100)
    await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="both topics gain partitions under load, then the gateway is told to use them")
async def test_a_topic_that_gains_partitions_loses_and_doubles_nothing(scenario: Scenario) -> None:
    deployment = scenario.deployment
    await scenario.start()
    before, more = deployment.partitions, deployment.partitions + 3
    scenario.begin_load(Habits(students=16, events_each=300, loses_the_answer=0.1))
    await scenario.acked(200)
    await gain_partitions(deployment, more)
    scenario.did(f"{more} partitions instead of {before}")
    await scenario.acked(200)
    await scenario.healed()
    deployment.gateway.environment = {**deployment.gateway.environment, "QUIZSTREAM_PARTITIONS": str(more)}
    await deployment.gateway.terminate()
    scenario.ledger.moved |= {one for one in range(1, 17) if partition_of(one, before) != partition_of(one, more)}
    await deployment.gateway.spawn()
    scenario.did("the gateway uses all of them")
    scenario.begin_load(LONG)  # these were quiet at the time: their order counts
    await scenario.acked(500)
    await scenario.healed(everywhere=True)

    async def uses_new_ones() -> bool:
        stored = await _positions(deployment)
        return any(stored.get((deployment.topic, number)) for number in range(before, more))

    await eventually(uses_new_ones, 20)  # a worker looks for them every 10 s
    await scenario.finish()


@pytest.mark.faults(broken="offsets of the consumer group deleted, while no worker runs")
async def test_without_the_offsets_of_the_group_the_store_says_where_to_go_on(scenario: Scenario) -> None:
    deployment = scenario.deployment
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(300)
    await scenario.healed()
    await deployment.worker.terminate()
    await scenario.acked(200)
    await delete_group(deployment, f"{deployment.topic}-worker")
    scenario.did("the group is forgotten")
    await deployment.worker.spawn()
    await scenario.healed(everywhere=True)
    await scenario.finish()


@pytest.mark.parametrize("how", ["ended", "cut off"])
@pytest.mark.faults(
    broken="records deleted that are not stored yet, while the worker is ended or cut off",
    settings={"QUIZSTREAM_REJOIN_AFTER_SECONDS": "5"},  # a client that was cut off may stand still
)
async def test_a_log_that_lost_records_stops_its_partition_loudly_and_no_other(scenario: Scenario, how: str) -> None:
    deployment, worker = scenario.deployment, scenario.deployment.worker
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(300)

    async def all_placed() -> bool:
        return {partition for _, partition in await _positions(deployment)} >= {*range(deployment.partitions)}

    await eventually(all_placed, 30)
    await scenario.healed(everywhere=True)
    if how == "ended":
        await worker.terminate()
    else:
        deployment.stage.links["worker-kafka"].cut()
    await scenario.acked(400)
    await scenario.until_posted()
    victim = scenario.chance.randrange(deployment.partitions)
    expected, lost = await _delete_unstored(scenario, victim)
    scenario.did(f"{lost} records of partition {victim} deleted")
    deployment.stage.links["worker-kafka"].heal()
    if not worker.is_running:
        await worker.spawn()
    scenario.begin_load(LONG)
    await red(scenario, worker, "partitions")
    assert f"the store expects record {expected}" in worker.log.read_text()
    await scenario.acked(500)
    ends = await log_ends(deployment)
    await eventually(lambda: _all_stored_but(deployment, ends, (deployment.topic, victim), expected), 30)
    await worker.terminate()
    await _skip(deployment, victim)
    scenario.note("the operator has decided: what was deleted is lost")
    await worker.start()
    await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="the broker's memory of producers set back: it expects other sequence numbers")
async def test_a_broker_that_forgot_its_producers_is_published_to_again(scenario: Scenario) -> None:
    """Nobody posts while it is away, so that the gateway keeps its producer."""
    deployment, broker = scenario.deployment, scenario.deployment.stage.kafka
    await scenario.start()
    kept: dict[Path, bytes] = {}
    for _ in range(3):
        scenario.begin_load(LONG)
        await scenario.acked(200)
        await scenario.healed(seconds=20)
        await scenario.until_posted()
        await broker.stop()
        for newest in _snapshots(deployment):
            older, kept[newest.parent] = kept.get(newest.parent), newest.read_bytes()
            newest.write_bytes(older or kept[newest.parent])
        scenario.did("broker stopped, and its memory of producers set back to that of the stop before")
        await broker.start()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    await scenario.healed(seconds=20)
    assert "OutOfOrderSequenceNumber" in deployment.gateway.log.read_text(), "the broker took all as in order"
    await scenario.finish()


@pytest.mark.faults(broken="the topic's max.message.bytes lowered to 60,000 under load; one event is larger")
async def test_a_record_that_the_broker_refuses_is_answered_503_and_blocks_nobody(scenario: Scenario) -> None:
    deployment = scenario.deployment
    await scenario.start()
    scenario.begin_load(Habits(students=4, events_each=20_000, largest_batch=4))
    await scenario.acked(100)
    await set_topic(deployment, {"max.message.bytes": "60000"})
    scenario.did("the broker takes no more than 60,000 bytes")
    tall, neighbour = page(scenario, 1_001), page(scenario, 1_001)
    text = json.dumps("x" * 200_000)
    large = Element(Content(1_001, "page_blurred", "2026-11-01T00:00:00.000Z", text), marked=False)  # it comes late
    for number in range(5):
        refused = await tall.post([large])
        assert refused.status == 503
        await neighbour.deliver(_small(1_001, number))
        await scenario.acked(50)
    assert tall.worst_answer_seconds < scaled(6)
    await scenario.healed()
    await set_topic(deployment, {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
    scenario.note("the broker takes what it took before")
    await tall.deliver([large])
    await scenario.healed()
    await scenario.finish()


def _small(submission: int, number: int) -> list[Element]:
    stamp = f"2026-11-01T00:00:0{number}.000Z"
    return [Element(Content(submission, "page_focused", stamp, f'{{"marker":"small-{number}"}}'))]


async def _positions(deployment: Deployment) -> dict[tuple[str, int], int]:
    session = await asyncpg.connect(deployment.database_url)
    try:
        return await positions(session)
    finally:
        await session.close()


async def _delete_unstored(scenario: Scenario, victim: int) -> tuple[int, int]:
    """Delete the whole log of a partition; give where the store stands, and how many records it has not stored.

    What was deleted is nobody's promise any more: the ledger may miss it.
    """
    deployment, key = scenario.deployment, (scenario.deployment.topic, victim)

    async def at_rest() -> bool:
        first = await _positions(deployment)
        await asyncio.sleep(1)  # longer than a flush
        return first == await _positions(deployment)

    await eventually(at_rest, 30)
    expected, end = (await _positions(deployment))[key], (await log_ends(deployment))[key]
    assert expected < end
    session = await asyncpg.connect(deployment.database_url)
    try:
        stored = {row.content for row in await rows(session)}
    finally:
        await session.close()
    for request in scenario.ledger.requests:
        if request.outcome == "acked" and any(
            one.content.event_type
            and one.content not in stored
            and partition_of(one.content.submission, deployment.partitions) == victim
            for one in request.elements
        ):
            request.outcome = "unknown"
    await delete_records(deployment, victim, end)
    return expected, end - expected


async def _all_stored_but(
    deployment: Deployment, ends: Mapping[tuple[str, int], int], stopped: tuple[str, int], expected: int
) -> bool:
    stored = await _positions(deployment)
    assert stored[stopped] == expected, "records were skipped"
    return all(stored[key] >= end for key, end in ends.items() if key != stopped)


async def _skip(deployment: Deployment, victim: int) -> None:
    """As an operator who has decided: the partition goes on where its log begins now."""
    begins = await log_begin(deployment, victim)
    session = await asyncpg.connect(deployment.database_url)
    try:
        await session.execute(
            "UPDATE topic_offsets SET next_offset = $3, last_appended_at_ms = NULL WHERE (topic, partition) = ($1, $2)",
            deployment.topic,
            victim,
            begins,
        )
    finally:
        await session.close()


def _snapshots(deployment: Deployment) -> list[Path]:
    """What a stopped broker keeps of producers, for each partition of the topic of events: the newest file."""
    logs = deployment.stage.data / "kafka" / "log"
    found = [sorted(folder.glob("*.snapshot")) for folder in logs.glob(f"{deployment.topic}-[0-9]*")]
    return [files[-1] for files in found if files]
