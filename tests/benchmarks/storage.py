"""Databases as writers and readers find them: migrated and empty, or full of earlier exams; each contender gets a copy.

Rows are made without the product's code. They lie as the worker would have written them: those of one request side by
side, requests of all attempts by turns.
"""

import asyncio
import io
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
from tests import databases
from tests.benchmarks.rows import COLUMNS, DELIMITER, QUOTE, TABLE

ATTEMPT_EVENTS = (50, 200, 1_000, 10_000)
LONGEST_ATTEMPT_EVENTS = 100_000
_FIRST_SUBMISSION = 10_000_000
_BEGUN_EARLIER = timedelta(days=5)  # the longest attempt takes 3.5
_BURSTS_PER_MINUTE = 4
_BURSTS_PER_TRANSACTION = 4_000
_LOADERS = 2
# Multiples of a prime, modulo the number of places, visit every place once, and neighbours far apart.
_STRIDE = 2_654_435_761
_ID_FACTOR = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd: its multiples modulo 2^128 all differ
_KINDS = (
    (b"page_blurred", b"null"),
    (b"page_focused", b"null"),
    (b"question_viewed", b'["432636"]'),
    (b"question_flagged", b'{"questionId":"432636","flagged":true}'),
    (b"question_answered", b'[{"quiz_question_id":"432636","answer":"4711"}]'),
)


def _line_format(kind: bytes, data: bytes) -> bytes:
    """A line with places for: row id, submission, event id, and three times the time, of which a minute is given."""
    values = (b"%d", b"%d", b"1", b"2", b"1", b"%032x", kind, b"%b", b"%b", b"%b", b"student", b"\x01" + data + b"\x01")
    return b"\x02".join(values) + b"\n"


_FORMATS = [_line_format(*kind) for kind in _KINDS]
BURST_EVENTS = len(_FORMATS)


class Attempt(NamedTuple):
    """A submission with one attempt; course 1, quiz 2."""

    submission_id: int
    events: int


def layout(rows: int) -> list[Attempt]:
    """Give attempts with `rows` events in all, as nearly as can be: each size of `ATTEMPT_EVENTS` has the same share.

    Where there are rows enough there is one attempt of `LONGEST_ATTEMPT_EVENTS` besides.
    """
    longest = [LONGEST_ATTEMPT_EVENTS] if rows >= 4 * LONGEST_ATTEMPT_EVENTS else []
    share = (rows - sum(longest)) // len(ATTEMPT_EVENTS)
    sizes = [*longest, *(events for events in ATTEMPT_EVENTS for _ in range(share // events))]
    return [Attempt(_FIRST_SUBMISSION + number, events) for number, events in enumerate(sizes)]


def parts(attempts: Sequence[Attempt]) -> Iterator[bytes]:
    """Give the lines of all events, a transaction's at a time."""
    ends = list(accumulate(attempt.events // BURST_EVENTS for attempt in attempts))
    written = [0] * len(attempts)
    begin = (datetime.now(UTC) - _BEGUN_EARLIER).replace(second=0, microsecond=0)
    minutes = [
        (begin + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:").encode()
        for minute in range(LONGEST_ATTEMPT_EVENTS // BURST_EVENTS // _BURSTS_PER_MINUTE + 1)
    ]
    lines: list[bytes] = []
    for number in range(ends[-1]):
        student = bisect_right(ends, number * _STRIDE % ends[-1])
        minute, quarter = divmod(written[student], _BURSTS_PER_MINUTE)
        written[student] += 1
        lines += _burst(number * BURST_EVENTS, attempts[student].submission_id, minutes[minute], quarter * 15)
        if len(lines) >= _BURSTS_PER_TRANSACTION * BURST_EVENTS:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def _burst(row: int, submission: int, minute: bytes, second: int) -> Iterator[bytes]:
    for number, line in enumerate(_FORMATS):
        at = second + 2 * number
        stamp = b"%b%02d.000Z" % (minute, at)
        yield line % (
            (row + number) << 12 | submission % 12,
            submission,
            (row + number + 1) * _ID_FACTOR & (1 << 128) - 1,
            stamp,
            stamp,
            b"%b%02d.250Z" % (minute, second + 2 * BURST_EVENTS),
        )


async def fill(url: str, rows: int) -> list[Attempt]:
    """Fill a migrated database with `rows` events, as nearly as can be, and let it settle; give the attempts."""
    attempts = layout(rows)
    made = parts(attempts)
    await asyncio.gather(_copy_attempts(url, attempts), *(_copy_all(url, made) for _ in range(_LOADERS)))
    session = await asyncpg.connect(url)
    try:
        await session.execute("VACUUM (ANALYZE)")  # else the server does it, while something is measured
        await session.execute("CHECKPOINT")
    finally:
        await session.close()
    return attempts


async def _copy_all(url: str, made: Iterator[bytes]) -> None:
    session = await asyncpg.connect(url)
    try:
        for part in made:
            await session.copy_to_table(
                TABLE, source=io.BytesIO(part), columns=COLUMNS, format="csv", delimiter=DELIMITER, quote=QUOTE
            )
    finally:
        await session.close()


async def _copy_attempts(url: str, attempts: Sequence[Attempt]) -> None:
    session = await asyncpg.connect(url)
    try:
        await session.copy_records_to_table("submissions", records=[(one.submission_id, 1) for one in attempts])
    finally:
        await session.close()


class Contents(NamedTuple):
    """How many events a store holds, what they take with their indexes, and where the server's log stands."""

    rows: int
    size_bytes: int
    wal_position: int


async def contents(url: str) -> Contents:
    """Count the events of a store."""
    session = await asyncpg.connect(url)
    try:
        rows: int = await session.fetchval(f"SELECT count(*) FROM {TABLE}")
        size_bytes: int = await session.fetchval(
            "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree($1) WHERE isleaf", TABLE
        )
        wal: int = await session.fetchval("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    finally:
        await session.close()
    return Contents(rows, size_bytes, wal)


def name_of(url: str) -> str:
    """Give the name of a database."""
    return urlsplit(url).path.lstrip("/")


@asynccontextmanager
async def copied(server_url: str, template: str) -> AsyncIterator[str]:
    """Give the URL of a copy of the database `template`, which nobody is connected to; it is dropped at the end.

    Its files are copied, not written through the log, and the server checkpoints before and after: every contender
    begins behind a checkpoint.
    """
    name = databases.unique("quizstream_bench").replace("-", "_")
    session = await asyncpg.connect(server_url)
    try:
        await session.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield databases.url_of(server_url, name)
        finally:
            await session.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await session.close()
