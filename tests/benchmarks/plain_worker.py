"""What the worker is measured against, each as a process of its own: `python -m tests.benchmarks.plain_worker WAY ..`.

    copy URL FILE ROWS           lines of FILE by COPY, ROWS to a transaction, the row of an offset in each
    executemany URL KAFKA TOPIC  consumer: 500 messages at a time into executemany, then the group's offset
    insert URL KAFKA TOPIC       consumer: one INSERT and one commit of the group's offset for each message

All write into the same table. `copy` reads no log, decodes nothing and recognises no re-delivery: it is what the
database takes. The consumers are what somebody would write first; they recognise re-deliveries by ON CONFLICT.
Each prints the number of rows so far, after its first commit and after every later one. They end when they are told.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from tests.benchmarks.rows import COLUMNS, DELIMITER, QUOTE, TABLE, row_id

_SLICE_BYTES = 64 * 2**10
_MESSAGES = 500
_INSERT = (
    f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) "
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(COLUMNS) + 1))}) ON CONFLICT DO NOTHING"
)

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def copy(session: Session, file: Path, rows: int) -> None:
    """COPY the lines of a file, `rows` to a transaction, and advance an offset with each."""
    await session.execute("INSERT INTO topic_offsets (topic, partition, next_offset) VALUES ('plain', 0, 0)")
    lines = (await asyncio.to_thread(file.read_bytes)).splitlines(keepends=True)
    for start in range(0, len(lines), rows):
        part = b"".join(lines[start : start + rows])
        done = min(start + rows, len(lines))
        async with session.transaction():
            await session.copy_to_table(
                TABLE, source=_slices(part), columns=COLUMNS, format="csv", delimiter=DELIMITER, quote=QUOTE
            )
            await session.execute("UPDATE topic_offsets SET next_offset = $1 WHERE topic = 'plain'", done)
        _tell(done)
    await asyncio.Event().wait()  # a session that ended now would take its CPU time out of the account


async def _slices(part: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(part), _SLICE_BYTES):
        yield part[start : start + _SLICE_BYTES]


async def executemany(session: Session, consumer: AIOKafkaConsumer) -> None:
    """Write 500 messages at a time."""
    done = 0
    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=_MESSAGES)
        rows = [_row(message) for messages in fetched.values() for message in messages]
        if not rows:
            continue
        await session.executemany(_INSERT, rows)
        await consumer.commit()
        done += len(rows)
        _tell(done)


async def insert(session: Session, consumer: AIOKafkaConsumer) -> None:
    """Write message by message."""
    done = 0
    async for message in consumer:
        await session.execute(_INSERT, *_row(message))
        await consumer.commit()
        done += 1
        _tell(done)


def _row(message: ConsumerRecord) -> Sequence[object]:
    event = json.loads(message.value)
    return (
        row_id(message.partition, message.offset),
        int(event["submission_id"]),
        int(event["course_id"]),
        int(event["quiz_id"]),
        event["attempt"] or 1,
        event["event_id"],
        event["event_type"],
        event["client_timestamp"],
        datetime.fromisoformat(event["occurred_at"]),
        datetime.fromisoformat(event["received_at"]),
        event["actor"],
        json.dumps(event["event_data"]),
    )


def _tell(rows: int) -> None:
    print(rows, flush=True)  # noqa: T201 - it is how the measurement hears of it


async def main(way: str, url: str, *arguments: str) -> None:
    """Do it the way that is named."""
    session: Session = await asyncpg.connect(url)
    if way == "copy":
        await copy(session, Path(arguments[0]), int(arguments[1]))
        return
    consumer = AIOKafkaConsumer(
        arguments[1],
        bootstrap_servers=arguments[0],
        group_id=f"{arguments[1]}-{way}-{session.get_server_pid()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        await {"executemany": executemany, "insert": insert}[way](session, consumer)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
