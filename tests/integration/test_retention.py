"""Retention on a real PostgreSQL: what goes, what stays, and what an interrupted run leaves to the next."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeAlias

import asyncpg
import pytest
from tests.factories import NOW
from tests.waiting import eventually

from quizstream.contracts.metrics import PROCESS_METRICS, WORKER_METRICS
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import writing
from quizstream.worker.months import last_month, make_months, month_of, partition_name
from quizstream.worker.retention import Removed, hold, release, remove_expired
from quizstream.worker.settings import WorkerSettings

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# Half a year from now, of a retention of three months: the months before month 3 have to go.
LATER = month_of(NOW, 6)
MONTHS = 3
EXPIRED = [partition_name(month_of(NOW, month)) for month in (-1, 0, 1, 2)]
BEFORE, SINCE = month_of(NOW, 3) - timedelta(seconds=1), month_of(NOW, 3)
IN_FIRST = NOW - timedelta(days=400)
THIS_MONTH = partition_name(NOW)

INSERT = """
INSERT INTO quiz_submission_events
    (id, submission_id, course_id, quiz_id, attempt, event_id, event_type, occurred_at, received_at, event_data)
VALUES ($1, 7, $2, 2, 1, $3, 'a', $4, $5, 'null')
"""


async def put(session: Session, number: int, occurred_at: datetime, received_at: datetime, course_id: int = 1) -> None:
    await session.execute(INSERT, number, course_id, uuid.uuid4(), occurred_at, received_at)


async def numbers(session: Session) -> list[int]:
    return [row["id"] for row in await session.fetch("SELECT id FROM quiz_submission_events ORDER BY id")]


async def tables(session: Session) -> list[str]:
    """All tables of events, attached or not."""
    names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'quiz_submission_events_%'"
    return [row["relname"] for row in await session.fetch(f"{names} ORDER BY relname")]


async def apply(database_url: str) -> Removed:
    return await remove_expired(database_url, LATER, MONTHS)


async def test_months_past_their_retention_are_dropped_and_nothing_else(database_url: str, session: Session) -> None:
    await put(session, 1, NOW, NOW)
    await put(session, 2, month_of(NOW, 2), BEFORE)
    await put(session, 3, month_of(NOW, 3), SINCE)
    await session.execute("INSERT INTO submissions VALUES (7, 2)")
    before = await tables(session)
    assert await apply(database_url) == Removed(tuple(EXPIRED), 0)
    assert await numbers(session) == [3]
    assert await tables(session) == [name for name in before if name not in EXPIRED]
    assert await session.fetchval("SELECT latest_attempt FROM submissions") == 2
    assert await apply(database_url) == Removed()


async def test_the_first_partition_is_cleaned_by_the_time_of_receipt(database_url: str, session: Session) -> None:
    await put(session, 1, IN_FIRST, BEFORE)
    await put(session, 2, IN_FIRST, SINCE)
    assert (await apply(database_url)).rows == 1
    assert await numbers(session) == [2]


async def test_an_old_month_keeps_what_was_received_since(database_url: str, session: Session) -> None:
    await put(session, 1, NOW, BEFORE)
    await put(session, 2, NOW, SINCE)
    assert await apply(database_url) == Removed(tuple(name for name in EXPIRED if name != THIS_MONTH), 1)
    assert await numbers(session) == [2]


async def test_of_a_held_course_everything_stays_until_it_is_released(database_url: str, session: Session) -> None:
    for number, course_id in enumerate((1, 2, 1, 2)):
        await put(session, number, NOW if number < 2 else IN_FIRST, NOW, course_id)
    await hold(session, 2, "appeal")
    assert await apply(database_url) == Removed(tuple(name for name in EXPIRED if name != THIS_MONTH), 2)
    assert await numbers(session) == [1, 3]
    assert await release(session, 2)
    assert await apply(database_url) == Removed((THIS_MONTH,), 1)
    assert await numbers(session) == []


async def test_rows_are_deleted_over_many_pages(
    database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quizstream.worker.retention.PAGES_AT_A_TIME", 2)
    event_ids = [uuid.uuid4() for _ in range(2_000)]
    await session.executemany(
        INSERT, [(number, 1 + number % 2, event_id, NOW, NOW) for number, event_id in enumerate(event_ids)]
    )
    await hold(session, 2, "appeal")
    assert (await apply(database_url)).rows == 1_000
    assert await numbers(session) == list(range(1, 2_000, 2))


QUARANTINED = """
INSERT INTO quarantined_events
    (quarantine_id, course_id, received_at, reason, topic, partition, record_offset, raw_kind, raw)
VALUES ($1, $2, $3, 'record_malformed', 'events', 0, $4, 'record', '')
"""


async def test_old_quarantine_goes_but_not_of_held_courses_or_what_may_be_of_one(
    database_url: str, session: Session
) -> None:
    rows = [(1, BEFORE), (1, SINCE), (2, BEFORE), (None, BEFORE)]
    await session.executemany(
        QUARANTINED, [(uuid.uuid4(), course, at, number) for number, (course, at) in enumerate(rows)]
    )

    async def left() -> list[int]:
        found = await session.fetch("SELECT record_offset FROM quarantined_events ORDER BY record_offset")
        return [row["record_offset"] for row in found]

    await hold(session, 2, "appeal")
    await apply(database_url)
    assert await left() == [1, 2, 3]
    await release(session, 2)
    await apply(database_url)
    assert await left() == [1]


async def test_a_hold_that_is_being_made_is_waited_for(database_url: str, session: Session) -> None:
    await put(session, 1, NOW, NOW, course_id=2)
    await put(session, 2, IN_FIRST, NOW, course_id=2)
    other = await asyncpg.connect(database_url)

    async def waits() -> bool:
        found: bool = await other.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'retention_holds'::regclass AND NOT granted)"
        )
        return found

    async with asyncio.TaskGroup() as tasks, session.transaction():
        await hold(session, 2, "appeal")
        removing = tasks.create_task(apply(database_url))
        await eventually(waits)
    await other.close()
    assert removing.result().rows == 0
    assert await numbers(session) == [1, 2]


async def test_only_one_worker_removes_at_a_time(database_url: str, session: Session) -> None:
    await session.execute("SELECT pg_advisory_lock($1)", 0x7175697B)
    assert await apply(database_url) == Removed()
    await session.execute("SELECT pg_advisory_unlock_all()")
    assert (await apply(database_url)).months == tuple(EXPIRED)


async def test_a_month_that_is_in_use_is_left_for_the_next_run(database_url: str, session: Session) -> None:
    async with session.transaction():
        await session.execute(f"LOCK TABLE {THIS_MONTH} IN ACCESS SHARE MODE")
        removed = await apply(database_url)
    assert removed == Removed(tuple(name for name in EXPIRED if name != THIS_MONTH), 0, put_off=True)
    assert (await apply(database_url)).months == (THIS_MONTH,)


RETIRED = f"{THIS_MONTH}_retired"
RENAME = f"ALTER TABLE {THIS_MONTH} RENAME TO {RETIRED}"
DETACH = f"ALTER TABLE quiz_submission_events DETACH PARTITION {RETIRED}"


async def renamed(database_url: str) -> None:
    session = await asyncpg.connect(database_url)
    await session.execute(RENAME)
    await session.close()


async def detaching(database_url: str) -> None:
    """Ended while it waits for those who use the table."""
    reader, retiring = [await asyncpg.connect(database_url) for _ in range(2)]
    await retiring.execute(RENAME)
    async with reader.transaction():
        await reader.execute("SELECT FROM quiz_submission_events LIMIT 1")
        await retiring.execute("SET lock_timeout = '300ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await retiring.execute(f"{DETACH} CONCURRENTLY")
    pending = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = $1::regclass"
    assert await reader.fetchval(pending, RETIRED)
    await reader.close()
    await retiring.close()


async def detached(database_url: str) -> None:
    session = await asyncpg.connect(database_url)
    await session.execute(RENAME)
    await session.execute(DETACH)
    await session.close()


@pytest.mark.parametrize("interrupted", [renamed, detaching, detached])
async def test_what_an_interrupted_run_has_begun_is_finished_by_the_next(
    database_url: str, session: Session, interrupted: Callable[[str], Awaitable[None]]
) -> None:
    """With a row that came after the month was searched, which must not go with it."""
    await put(session, 1, NOW, BEFORE)
    await put(session, 2, NOW, SINCE)
    await interrupted(database_url)
    assert set((await apply(database_url)).months) == set(EXPIRED)
    assert await numbers(session) == [2]
    assert THIS_MONTH in await tables(session)  # made anew for that row
    assert not [name for name in await tables(session) if name.endswith("_retired")]


async def test_a_table_that_an_operator_has_detached_is_left_alone(database_url: str, session: Session) -> None:
    await session.execute(f"ALTER TABLE quiz_submission_events DETACH PARTITION {THIS_MONTH}")
    assert THIS_MONTH not in (await apply(database_url)).months
    assert THIS_MONTH in await tables(session)


async def test_events_are_written_and_read_while_months_are_dropped(database_url: str, session: Session) -> None:
    removing = asyncio.create_task(apply(database_url))
    number = 0
    while not removing.done():
        number += 1
        await put(session, number, month_of(NOW, 4), SINCE)
        assert len(await numbers(session)) == number
    assert (await removing).months == tuple(EXPIRED)


async def test_the_worker_applies_the_retention_it_is_told_and_shows_how_many_months_are_left(
    settings: WorkerSettings, session: Session
) -> None:
    await put(session, 1, IN_FIRST, IN_FIRST)
    await put(session, 2, IN_FIRST, NOW)
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))

    async def is_gone() -> bool:
        return await numbers(session) == [2]

    async def are_shown() -> bool:
        return meters.registry.get_sample_value("quizstream_months_ahead") == 12

    async with writing(settings, Lifetime(), meters):
        await eventually(are_shown)
        assert await numbers(session) == [1, 2]  # by default nothing is removed
    async with writing(settings.model_copy(update={"retention_months": 1}), Lifetime(), meters):
        await eventually(is_gone)


async def test_months_left_end_at_the_first_gap(session: Session) -> None:
    await session.execute(f"DROP TABLE {partition_name(month_of(NOW, 2))}")
    assert await last_month(session, NOW) == month_of(NOW, 1)
    await session.execute(f"DROP TABLE {THIS_MONTH}")
    assert await last_month(session, NOW) is None


async def test_a_month_that_is_half_detached_is_finished_with_and_made_anew(
    database_url: str, session: Session
) -> None:
    await detaching(database_url)
    assert await make_months(session, [month_of(NOW)]) == [THIS_MONTH]
    await put(session, 1, NOW, SINCE)
    assert set((await apply(database_url)).months) == set(EXPIRED)
    assert await numbers(session) == [1]


async def test_a_half_detached_month_that_somebody_reads_is_left_alone(database_url: str, session: Session) -> None:
    await detaching(database_url)
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.execute(f"SELECT FROM {RETIRED} LIMIT 1")
        await session.execute("SET lock_timeout = '300ms'")
        assert await make_months(session, [month_of(NOW)]) == []
    await reader.close()
