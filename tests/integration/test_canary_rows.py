"""What canaries leave in the store goes after a day, and nothing else does."""

from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest
from tests.factories import NOW
from tests.waiting import eventually
from tests.workers import working

from quizstream.contracts.canaries import FIRST_RESERVED_ID, KEPT_SECONDS
from quizstream.contracts.resources import MAX_ID
from quizstream.worker.canary_rows import remove_canaries
from quizstream.worker.settings import WorkerSettings

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

RECENT, OLD = NOW - timedelta(seconds=KEPT_SECONDS - 3_600), NOW - timedelta(seconds=KEPT_SECONDS + 3_600)

INSERT_EVENTS = """
INSERT INTO quiz_submission_events
    (id, submission_id, course_id, quiz_id, attempt, event_id, event_type, occurred_at, received_at, event_data)
SELECT number, $1, 1, 2, 1, gen_random_uuid(), 'canary', $2, $2, 'null' FROM generate_series(1, $3::int) AS number
"""
INSERT_QUARANTINED = """
INSERT INTO quarantined_events
    (quarantine_id, submission_id, received_at, reason, topic, partition, record_offset, raw_kind, raw)
VALUES (gen_random_uuid(), $1, $2, 'record_malformed', 't', 0, 0, 'record', '')
"""
KEPT = """
SELECT submission_id, received_at FROM quiz_submission_events
UNION ALL SELECT submission_id, received_at FROM quarantined_events WHERE submission_id IS NOT NULL
"""


async def fill(session: Session) -> None:
    for submission in (7, FIRST_RESERVED_ID - 1, FIRST_RESERVED_ID, MAX_ID):
        for received_at in (RECENT, OLD):
            await session.execute(INSERT_EVENTS, submission, received_at, 1)
            await session.execute(INSERT_QUARANTINED, submission, received_at)
    await session.execute(INSERT_QUARANTINED, None, OLD)


async def remaining(session: Session) -> int:
    """How many rows of canaries past their day there are; the others must all be there."""
    kept = [(row["submission_id"], row["received_at"]) for row in await session.fetch(KEPT)]
    past = [one for one in kept if one[0] >= FIRST_RESERVED_ID and one[1] == OLD]
    assert len(kept) - len(past) == 12
    return len(past)


async def test_only_canaries_of_more_than_a_day_are_removed(database_url: str, session: Session) -> None:
    await fill(session)
    assert await remaining(session) == 4
    assert await remove_canaries(database_url, NOW) == 4
    assert await remaining(session) == 0
    assert await session.fetchval("SELECT count(*) FROM quarantined_events WHERE submission_id IS NULL") == 1


async def test_many_are_removed_some_at_a_time(
    database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizstream.worker.canary_rows.ROWS_AT_A_TIME", 100)
    await session.execute(INSERT_EVENTS, MAX_ID, OLD, 450)
    assert await remove_canaries(database_url, NOW) == 450


async def test_one_worker_removes_while_the_others_leave_it_to_that_one(database_url: str, session: Session) -> None:
    await fill(session)
    await session.execute("SELECT pg_advisory_lock($1)", 0x7175697C)
    assert await remove_canaries(database_url, NOW) == 0
    await session.execute("SELECT pg_advisory_unlock($1)", 0x7175697C)
    assert await remove_canaries(database_url, NOW) == 4


async def test_a_worker_removes_them_also_where_everything_else_is_kept(
    settings: WorkerSettings, session: Session
) -> None:
    assert settings.retention_months == 0
    await fill(session)

    async def gone() -> bool:
        return await remaining(session) == 0

    async with working(settings):
        await eventually(gone)


async def test_they_are_found_by_the_index_and_not_by_reading_all(session: Session) -> None:
    await session.execute("SET enable_seqscan = off")
    for table in ("quiz_submission_events", "quarantined_events"):
        plan = await session.fetch(
            f"EXPLAIN SELECT FROM {table} WHERE submission_id >= {FIRST_RESERVED_ID} AND received_at < now() LIMIT 10"
        )
        assert "Index" in " ".join(row[0] for row in plan)
