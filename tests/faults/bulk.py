"""A backlog of very many events: made, sent, and checked as a stream, so that the check needs no memory for them.

Each submission's events are numbered, and all that an event is follows from its number. So rows that are read in the
order of their ids must be the numbers of each submission, one after the other: then none is lost, doubled, changed or
out of order.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final, NamedTuple

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.acceptance.system import path_of, token
from tests.faults.services import Deployment
from tests.faults.verdict import IDS_PER_OFFSET
from tests.waiting import scaled

from quizstream.contracts.access import POST_SCOPE

FIRST_SUBMISSION: Final = 1_000_000  # above those of students
_EVENTS_OF_A_REQUEST: Final = 500
_SENDERS: Final = 8
_TRIES: Final = 20
_TYPE: Final = "page_blurred"
_SHOWN: Final = 5

_ROWS = """
SELECT id, submission_id, event_id::text AS event_id, event_type, client_timestamp, attempt, event_data::text AS text
FROM quiz_submission_events WHERE submission_id >= $1 AND id % 4096 = $2 ORDER BY id
"""
_LARGEST_TRANSACTION = (
    "SELECT max(count) FROM (SELECT count(*) FROM quiz_submission_events GROUP BY xmin::text) AS each"
)


class Backlog(NamedTuple):
    """So many submissions with so many events each."""

    submissions: int
    events_each: int

    @property
    def events(self) -> int:
        """How many there are in all."""
        return self.submissions * self.events_each


def stamp(number: int) -> str:
    """The client's time of an event: 10 a second."""
    seconds, tenths = divmod(number, 10)
    return f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{tenths}00Z"


def text(submission: int, number: int) -> str:
    """The data of an event; its marker is unique."""
    return f'{{"marker": "{submission}-{number}", "answer": ["one", 2, null]}}'


def bodies(submission: int, events: int) -> Iterator[bytes]:
    """The requests of a submission, in their order."""
    for first in range(0, events, _EVENTS_OF_A_REQUEST):
        elements = ",".join(
            f'{{"event_type":"{_TYPE}","client_timestamp":"{stamp(number)}","event_data":{text(submission, number)}}}'
            for number in range(first, min(first + _EVENTS_OF_A_REQUEST, events))
        )
        yield f'{{"quiz_submission_events":[{elements}]}}'.encode()


async def send(deployment: Deployment, backlog: Backlog) -> None:
    """Send it all and have it acknowledged; what is answered 503 is sent again."""
    waiting = iter(range(FIRST_SUBMISSION, FIRST_SUBMISSION + backlog.submissions))
    headers = {"Authorization": f"Bearer {token(POST_SCOPE)}", "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=scaled(30))
    async with aiohttp.ClientSession(deployment.gateway.url, headers=headers, timeout=timeout) as client:

        async def send_some() -> None:
            for submission in waiting:
                for body in bodies(submission, backlog.events_each):
                    await _taken(client, submission, body)

        async with asyncio.TaskGroup() as senders:
            for _ in range(_SENDERS):
                senders.create_task(send_some())


async def _taken(client: aiohttp.ClientSession, submission: int, body: bytes) -> None:
    for _ in range(_TRIES):
        async with client.post(path_of(submission), data=body) as answer:
            if answer.status == 204:
                return
            assert answer.status == 503, f"the backlog is answered {answer.status}"
        await asyncio.sleep(0.5)
    raise AssertionError("the backlog is not taken")


async def largest_transaction(deployment: Deployment) -> int:
    """How many rows the largest transaction wrote."""
    session = await asyncpg.connect(deployment.database_url)
    try:
        return int(await session.fetchval(_LARGEST_TRANSACTION))
    finally:
        await session.close()


async def differences(deployment: Deployment, backlog: Backlog) -> list[str]:
    """What is wrong with the rows of the backlog, or with their records: the first few."""
    found: list[str] = []
    counted: Counter[int] = Counter()
    for partition in range(deployment.partitions):
        found += await _differences_of(deployment, partition, counted)
    submissions = range(FIRST_SUBMISSION, FIRST_SUBMISSION + backlog.submissions)
    short = [f"backlog: {counted[one]} events of {one}" for one in submissions if counted[one] != backlog.events_each]
    return found + short[:_SHOWN]


async def _differences_of(deployment: Deployment, partition: int, counted: Counter[int]) -> list[str]:
    found: list[str] = []
    records = _records(deployment, partition)
    session = await asyncpg.connect(deployment.database_url)
    try:
        async with session.transaction():
            async for row in session.cursor(_ROWS, FIRST_SUBMISSION, partition, prefetch=5_000):
                found += _differences_in(row, counted[row["submission_id"]], await _record_of(records, row["id"]))
                counted[row["submission_id"]] += 1
                if len(found) > _SHOWN:
                    break
    finally:
        await session.close()
        await records.aclose()
    return found


def _differences_in(row: asyncpg.Record, number: int, record: str | None) -> Iterator[str]:
    submission: int = row["submission_id"]
    told = (row["event_type"], row["client_timestamp"], row["attempt"], row["text"])
    if told != (_TYPE, stamp(number), 1, text(submission, number)):
        yield f"backlog: number {number} of {submission} is {told}"
    if record != row["event_id"]:
        yield f"backlog: row {row['id']} is {row['event_id']}, its record {record}"


async def _record_of(records: AsyncIterator[tuple[int, str]], row_id: int) -> str | None:
    """The event id of the record that a row is named after; those before it are repetitions, or of others."""
    async for record_id, event_id in records:
        if record_id == row_id:
            return event_id
        if record_id > row_id:
            return None
    return None


async def _records(deployment: Deployment, partition: int) -> AsyncGenerator[tuple[int, str], None]:
    """The row id and the event id that each record of a partition stands for."""
    key = TopicPartition(deployment.topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.stage.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 2**20,
    )
    await consumer.start()
    try:
        consumer.assign([key])
        end = (await consumer.end_offsets([key]))[key]
        while await consumer.position(key) < end:
            for record in (await consumer.getmany(timeout_ms=500)).get(key, []):
                headers = dict(record.headers)
                yield record.offset * IDS_PER_OFFSET + partition, headers["ce_id"].decode()
    finally:
        await consumer.stop()
