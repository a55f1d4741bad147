"""Scenarios that are played twice: by the product, which must keep its promises, and by mutants, which must not."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence

import asyncpg
from aiokafka import AIOKafkaProducer
from tests.faults.ledger import Content, Element
from tests.faults.load import Habits
from tests.faults.scenario import Scenario

from quizstream.contracts.partitions import partition_of

CRASH_POINTS = (
    "worker_after_poll",
    "worker_during_copy",
    "worker_before_commit",
    "worker_after_commit",
    "worker_during_rebalance",
)
LONG = Habits(events_each=100_000)
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'quizstream-worker'"


async def repeat(scenario: Scenario) -> None:
    """Answers are lost and batches sent again, alone and with newer events; nothing is killed."""
    scenario.begin_load(Habits(events_each=60, loses_the_answer=0.3))
    await scenario.start()
    scenario.did("answers lost")
    await scenario.until_posted(early=False)
    await scenario.finish()


async def crash_worker(scenario: Scenario, points: Sequence[str] = CRASH_POINTS) -> None:
    """The worker ends at each of these points; it is a static member, so its successor need not wait."""
    await scenario.start(workers=False)
    scenario.begin_load(LONG)
    worker = scenario.deployment.worker
    for point in points:
        await scenario.acked(100)
        time = 1 if point == "worker_during_rebalance" else scenario.chance.randint(1, 3)
        await worker.spawn(crash_at=f"{point}:SIGKILL:{time}")
        await worker.crashed()
        scenario.did(f"crash at {point}")
    await worker.spawn()
    await scenario.healed()
    await scenario.finish()


async def zombie(scenario: Scenario) -> None:
    """The row locks of a worker that is stopped inside COPY outlive every time-out: its session has to be ended."""
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(100)
    await scenario.healed()
    zombie = scenario.deployment.add_worker()
    await zombie.spawn(crash_at=f"worker_during_copy:SIGSTOP:{scenario.chance.randint(3, 9)}")
    await scenario.until_stopped(zombie)
    scenario.did("worker stopped inside COPY")
    await scenario.healed(everywhere=True)
    zombie.resume()
    scenario.note("the zombie goes on")
    await scenario.acked(200)
    await scenario.finish()


async def kill_broker(scenario: Scenario) -> None:
    """The broker ends under load and comes back."""
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    await scenario.deployment.stage.kafka.kill()
    scenario.did("broker killed")
    await scenario.outage_answered()
    await scenario.deployment.stage.kafka.start()
    await scenario.healed(seconds=20)
    await scenario.acked(300)
    await scenario.finish()


async def poison(scenario: Scenario) -> None:
    """Records that no gateway of ours would publish: each goes to quarantine, and nothing else does."""
    await scenario.start(workers=False)
    scenario.begin_load(LONG)
    producer = AIOKafkaProducer(bootstrap_servers=scenario.deployment.stage.bootstrap_servers, acks="all")
    await producer.start()
    try:
        for burst in (1, 1, 3, 40, 1):  # at the start, in the middle and at the end of what the worker finds
            await publish_poison(scenario, producer, burst)
            await scenario.acked(100)
        await scenario.deployment.worker.start()
        for burst in (1, 7, 120):
            await publish_poison(scenario, producer, burst)
            await scenario.acked(100)
    finally:
        await producer.stop()
    await scenario.healed()
    await scenario.finish()


async def set_back(scenario: Scenario) -> None:
    """A standby that was behind takes over: rows and offsets go back together, and sessions end. Nobody posts then."""
    deployment = scenario.deployment
    await scenario.start()
    scenario.begin_load(Habits(events_each=200))
    await scenario.acked(100)
    await scenario.healed()
    session = await asyncpg.connect(deployment.database_url)
    try:
        behind = await session.fetch("SELECT * FROM topic_offsets")
        await scenario.acked(200)
        await scenario.until_posted()
        await scenario.caught_up()
        assert behind != await session.fetch("SELECT * FROM topic_offsets")
        async with scenario.watch.set_back(), session.transaction():
            await session.execute("LOCK TABLE topic_offsets IN ACCESS EXCLUSIVE MODE")
            for row in behind:
                await _forget(session, row, is_of_events=row["topic"] == deployment.topic)
            await session.execute(END_SESSIONS)
        scenario.did("rows and offsets set back, sessions ended")
    finally:
        await session.close()
    await scenario.caught_up(10)
    await scenario.finish()


async def _forget(session: "asyncpg.Connection[asyncpg.Record]", row: asyncpg.Record, *, is_of_events: bool) -> None:
    """Take away what a partition brought since."""
    rows_since = (
        "DELETE FROM quiz_submission_events WHERE id % 4096 = $1 AND id / 4096 >= $2"
        if is_of_events
        else "DELETE FROM quarantined_events WHERE partition = $1 AND record_offset >= $2"
    )
    await session.execute(rows_since, row["partition"], row["next_offset"])
    await session.execute(
        "UPDATE topic_offsets SET next_offset = $3, last_appended_at_ms = $4 WHERE topic = $1 AND partition = $2",
        row["topic"],
        row["partition"],
        row["next_offset"],
        row["last_appended_at_ms"],
    )


PLAYS: Mapping[str, Callable[[Scenario], Awaitable[None]]] = {
    "repeat": repeat,
    "crash_worker": crash_worker,
    "zombie": zombie,
    "kill_broker": kill_broker,
    "poison": poison,
    "set_back": set_back,
}


async def publish_poison(scenario: Scenario, producer: AIOKafkaProducer, count: int) -> None:
    """Publish so many records that cannot be stored."""
    for _ in range(count):
        number = len(scenario.ledger.requests)
        element, value = (_undecodable, _of_another_schema, _refused_by_the_server)[number % 3](number)
        submission = element.content.submission or 1
        request = scenario.ledger.send([element], None)
        partition = partition_of(submission, scenario.deployment.partitions)
        headers = [("ce_id", _event_id(number).encode())]
        await producer.send_and_wait(
            scenario.deployment.topic, value, key=b"%d" % submission, partition=partition, headers=headers
        )
        request.outcome = "acked"
    scenario.did(f"{count} poisoned")


def _event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _undecodable(number: int) -> tuple[Element, bytes]:
    text = f'{{"marker":"poison-{number}"'
    return Element(Content(0, None, None, text)), text.encode()


def _of_another_schema(number: int) -> tuple[Element, bytes]:
    text = f'{{"event_id":"{_event_id(number)}","event_data":"poison-{number}"}}'
    return Element(Content(0, None, None, text)), text.encode()


def _refused_by_the_server(number: int) -> tuple[Element, bytes]:
    """The 30th of February has the form of a time."""
    submission = 1 + number % 16
    content = Content(submission, "page_blurred", "2026-02-30T00:00:00Z", f'{{"marker":"poison-{number}"}}')
    members = {
        "event_id": _event_id(number),
        "event_type": content.event_type,
        "client_timestamp": content.client_timestamp,
        "occurred_at": "2026-02-30T00:00:00.000000Z",
        "received_at": "2026-03-01T00:00:00.000000Z",
        "course_id": "1",
        "quiz_id": "2",
        "submission_id": str(submission),
        "attempt": 1,
        "actor": None,
    }
    head = json.dumps(members, separators=(",", ":"))[:-1]
    return Element(content, poison=True), f'{head},"event_data":{content.text}}}'.encode()
