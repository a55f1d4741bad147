"""The page's JSON from the store in one statement, by asyncpg, without HTTP: what PostgreSQL itself takes for it.

    python -m tests.benchmarks.bare_query < order.json > report.json

No plan, no rounds, no count, no token: less than a reader can do that bounds its memory and gives links. The sessions
have the reader's settings.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import asyncpg
import msgspec
import uvloop
from tests.benchmarks.consumption import Watch
from tests.benchmarks.measurement import UNDER_TEST
from tests.benchmarks.summary import percentiles

from quizstream.reader.select import SESSION_SETTINGS

_PAGE = """
    SELECT convert_to(
        '{"quiz_submission_events":[' || string_agg(
            '{"id":"' || id
            || '","event_type":' || to_json(event_type)
            || ',"event_data":' || event_data::text
            || ',"created_at":"' || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '"}',
            ',' ORDER BY created_at, id
        ) || ']}',
        'UTF8'
    )
    FROM (
        SELECT id, event_type, event_data,
            CASE WHEN occurred_at > received_at + interval '5 minutes' THEN received_at ELSE occurred_at END
                AS created_at
        FROM quiz_submission_events
        WHERE submission_id = $1 AND course_id = 1 AND quiz_id = 2
            AND attempt = (SELECT latest_attempt FROM submissions WHERE submission_id = $1)
        ORDER BY created_at, id
        LIMIT 10000
    ) AS event
"""


class QueryOrder(msgspec.Struct, kw_only=True):
    """What to ask, by how many connections, for how long, and whose consumption to watch beside one's own."""

    url: str
    submissions: list[int]
    connections: int
    seconds: float
    warm_up_seconds: float
    watched: dict[str, list[int]]


class QueryReport(msgspec.Struct, kw_only=True):
    """What came of it."""

    answered: int
    wall_seconds: float
    latency_seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    peak_rss_bytes: dict[str, int]


class _Asking:
    def __init__(self, submissions: Iterator[int]) -> None:
        self._submissions = submissions
        self.latencies: list[float] = []

    async def until(self, session: "asyncpg.Connection[asyncpg.Record]", end: float) -> None:
        while (begun := time.perf_counter()) < end:
            await session.fetchval(_PAGE, next(self._submissions))
            self.latencies.append(time.perf_counter() - begun)


async def ask(order: QueryOrder) -> QueryReport:
    """Ask without a pause."""
    submissions = cycle(order.submissions)
    watch = Watch({**order.watched, UNDER_TEST: [os.getpid()]})
    sessions = [
        await asyncpg.connect(order.url, server_settings=dict(SESSION_SETTINGS)) for _ in range(order.connections)
    ]
    try:
        await _all(_Asking(submissions), sessions, order.warm_up_seconds)
        asking = _Asking(submissions)
        watch.begin()
        await _all(asking, sessions, order.seconds)
        consumed = watch.end()
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    return QueryReport(
        answered=len(asking.latencies),
        wall_seconds=consumed.wall_seconds,
        latency_seconds=percentiles(asking.latencies),
        cpu_seconds=consumed.cpu_seconds,
        peak_rss_bytes=consumed.peak_rss_bytes,
    )


async def _all(asking: _Asking, sessions: "list[asyncpg.Connection[asyncpg.Record]]", seconds: float) -> None:
    end = time.perf_counter() + seconds
    await asyncio.gather(*(asking.until(session, end) for session in sessions))


def main() -> None:
    """Do what stdin orders."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=QueryOrder)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(ask(order))))


if __name__ == "__main__":
    main()
