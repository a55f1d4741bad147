"""What there is: topic from the start, table, quarantine, answers, positions. Read past all links and all our code."""

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.acceptance.system import path_of
from tests.faults.ledger import Content
from tests.faults.load import reading_headers
from tests.faults.services import Deployment
from tests.faults.verdict import Position, Published, Quarantined, Read, Row, Seen, Shown
from tests.waiting import scaled

_ROWS = """
SELECT id, submission_id, attempt, event_id, event_type, client_timestamp, occurred_at, received_at,
    event_data::text AS event_data
FROM quiz_submission_events WHERE submission_id < 1000000 ORDER BY id
"""  # above are those of a backlog, which is too large to be held (bulk.py)
_QUARANTINE = "SELECT * FROM quarantined_events WHERE stored_at IS NULL"
_SETTLED = "SELECT quarantine_id FROM quarantined_events WHERE stored_at IS NOT NULL"
_POSITIONS = "SELECT topic, partition, next_offset FROM topic_offsets"


async def rows(session: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    """The table of events."""
    return [
        Row(
            row["id"],
            row["attempt"],
            str(row["event_id"]),
            row["occurred_at"],
            row["received_at"],
            Content(row["submission_id"], row["event_type"], row["client_timestamp"], row["event_data"]),
        )
        for row in await session.fetch(_ROWS)
    ]


async def seen(deployment: Deployment, client: aiohttp.ClientSession, reads: Sequence[Read] = ()) -> Seen:
    """Everything, when the lag is 0; `reads` is what was read before."""
    session = await asyncpg.connect(deployment.database_url)
    try:
        table = await rows(session)
        quarantined = [_quarantined(row) for row in await session.fetch(_QUARANTINE)]
        settled = frozenset([str(row["quarantine_id"]) for row in await session.fetch(_SETTLED)])
        stored = await positions(session)
    finally:
        await session.close()
    published, logs = await read_topics(deployment)
    return Seen(
        deployment.topic,
        table,
        quarantined,
        published,
        await _answers(deployment, client, table),
        {key: Position(stored.get(key, 0), end, begin) for key, (begin, end) in logs.items()},
        settled,
        reads,
    )


async def positions(session: "asyncpg.Connection[asyncpg.Record]") -> dict[tuple[str, int], int]:
    """The stored offsets."""
    return {(row["topic"], row["partition"]): row["next_offset"] for row in await session.fetch(_POSITIONS)}


def _quarantined(row: asyncpg.Record) -> Quarantined:
    raw = bytes(row["raw"]).decode()
    if row["raw_kind"] == "element":
        content = Content(row["submission_id"], None, None, raw)
    else:
        content = _content_of_record(row["submission_id"], raw)
    return Quarantined(
        str(row["quarantine_id"]), row["reason"], row["topic"], row["partition"], row["record_offset"], content
    )


def _content_of_record(submission: int | None, raw: str) -> Content:
    """What a record of the topic was made of; of an unreadable one its whole text."""
    head, found, tail = raw.partition(',"event_data":')
    if submission is None or not found:
        return Content(submission or 0, None, None, raw)
    members = json.loads(head + "}")
    return Content(submission, members["event_type"], members["client_timestamp"], tail[:-1])


async def read_topics(
    deployment: Deployment,
) -> tuple[Sequence[Published], Mapping[tuple[str, int], tuple[int, int]]]:
    """Every record of both topics from the start, and where their logs begin and end."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.stage.bootstrap_servers,
        group_id=f"analytics-{uuid.uuid4().hex}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=32 * 2**20,
    )
    await consumer.start()
    try:
        topics = (deployment.topic, f"{deployment.topic}.quarantine")
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(deployment.partitions)]
        consumer.assign(partitions)
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        published: list[Published] = []
        async with asyncio.timeout(scaled(60)):
            while any([await consumer.position(key) < end for key, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    published += [
                        Published(one.topic, one.partition, one.offset, one.key.decode(), _header(one.headers, "ce_id"))
                        for one in records
                        if len(one.key) < 7  # as above
                    ]
        return published, {(key.topic, key.partition): (begins[key], end) for key, end in ends.items()}
    finally:
        await consumer.stop()


async def log_ends(deployment: Deployment) -> Mapping[tuple[str, int], int]:
    """The ends of the logs of both topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=deployment.stage.bootstrap_servers)
    await consumer.start()
    try:
        topics = (deployment.topic, f"{deployment.topic}.quarantine")
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(deployment.partitions)]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return {(key.topic, key.partition): end for key, end in ends.items()}
    finally:
        await consumer.stop()


def _header(headers: Sequence[tuple[str, bytes]], name: str) -> str:
    return next((value.decode() for key, value in headers if key == name), "")


async def _answers(
    deployment: Deployment, client: aiohttp.ClientSession, table: Sequence[Row]
) -> dict[tuple[int, int], Sequence[Shown]]:
    keys = sorted({(row.content.submission, row.attempt) for row in table})
    return {key: await _log(deployment, client, *key) for key in keys}


async def _log(deployment: Deployment, client: aiohttp.ClientSession, submission: int, attempt: int) -> Sequence[Shown]:
    """The whole log of an attempt, page by page as the links say."""
    url = f"{deployment.reader.url}{path_of(submission)}?attempt={attempt}&per_page=250"
    shown: list[Shown] = []
    while url:
        async with client.get(url, headers=reading_headers()) as answer:
            assert answer.status == 200, f"GET answered {answer.status}"
            events = json.loads(await answer.read())["quiz_submission_events"]
            url = str(answer.links["next"]["url"]) if "next" in answer.links else ""
        shown += [Shown(int(event["id"]), event["event_type"], event["event_data"]) for event in events]
    return shown
