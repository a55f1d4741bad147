"""The worker as one would write it first: an INSERT and a commit for each message; or, kinder, 500 at a time.

It writes an event again that was sent again, and stops at the first one that PostgreSQL refuses.

    python -m tests.benchmarks.obvious.worker insert|executemany BOOTSTRAP_SERVERS TOPIC DATABASE_URL
"""

import json
import sys
from datetime import datetime
from typing import Final

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRecord

BATCH: Final = 500

TABLE: Final = """
CREATE TABLE events (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    course_id        bigint      NOT NULL,
    quiz_id          bigint      NOT NULL,
    submission_id    bigint      NOT NULL,
    event_type       text        NOT NULL,
    client_timestamp timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    event_data       jsonb
);
CREATE INDEX events_by_submission ON events (submission_id, client_timestamp);
"""

_INSERT: Final = """
INSERT INTO events (course_id, quiz_id, submission_id, event_type, client_timestamp, received_at, event_data)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

Row = tuple[int, int, int, str, datetime, datetime, str]


def row_of(message: "ConsumerRecord") -> Row:
    """Give the row of a record."""
    record = json.loads(message.value)
    return (
        int(record["course_id"]),
        int(record["quiz_id"]),
        int(record["submission_id"]),
        record["event_type"],
        datetime.fromisoformat(record["client_timestamp"]),
        datetime.fromisoformat(record["received_at"]),
        json.dumps(record["event_data"]),
    )


async def insert(consumer: AIOKafkaConsumer, session: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Write message by message."""
    async for message in consumer:
        await session.execute(_INSERT, *row_of(message))
        await consumer.commit()


async def insert_many(consumer: AIOKafkaConsumer, session: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Write up to 500 messages at a time."""
    while True:
        fetched = await consumer.getmany(timeout_ms=1_000, max_records=BATCH)
        if rows := [row_of(message) for messages in fetched.values() for message in messages]:
            await session.executemany(_INSERT, rows)
            await consumer.commit()


async def work(mode: str, bootstrap_servers: str, topic: str, database_url: str) -> None:
    """Make the table, then write until the end."""
    session = await asyncpg.connect(database_url)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=f"{topic}-worker",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        await session.execute(TABLE)
        await (insert if mode == "insert" else insert_many)(consumer, session)


if __name__ == "__main__":
    uvloop.run(work(*sys.argv[1:]))
