"""Retention: months are dropped whole, but for what was received since, and for courses that are held.

The time of receipt decides, as stamps may be wrong: an event received today with a stamp of two years ago stays. A
month of which something must stay is cleaned row by row, as is the first partition, some pages a transaction.

A month is renamed, detached without a lock that readers or writers wait for long, searched once more for rows that came
meanwhile, and dropped. A run that is killed at any point is finished by the next, as the new name tells what was begun.
"""

import re
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import asyncpg
import structlog

from quizstream.runtime.postgres import Connection, connection, load_statements
from quizstream.worker.copy_rows import COLUMNS
from quizstream.worker.months import make_months, month_of

log: Final = structlog.get_logger(__name__)

PAGES_AT_A_TIME: Final = 2_048  # 16 MiB: some 70,000 rows, below a second
LOCK_TIMEOUT_SECONDS: Final = 1.0  # readers that come while we wait for a lock wait as long
STATEMENT_TIMEOUT_SECONDS: Final = 600.0

_LOCK: Final = 0x7175697B  # the one after that of migrations
_RETIRED: Final = "_retired"  # behind the name of a month that is being dropped; `make_month` knows it, too
_MONTH: Final = re.compile(r"quiz_submission_events_([0-9]{4})_([0-9]{2})")
_SQL: Final = load_statements("quizstream.worker", "sql/retention.sql")
_PUT_OFF: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # another month is being detached
)


class Removed(NamedTuple):
    """The months that were dropped, how many rows were deleted one by one, and whether something was in use."""

    months: tuple[str, ...] = ()
    rows: int = 0
    put_off: bool = False

    def plus(self, other: "Removed") -> "Removed":
        """Add what was removed elsewhere."""
        return Removed(self.months + other.months, self.rows + other.rows, self.put_off or other.put_off)


class Hold(NamedTuple):
    """A course of which nothing is removed."""

    course_id: int
    reason: str
    since: datetime


class _Partition(NamedTuple):
    name: str
    attached: bool
    pending: bool

    @property
    def month(self) -> datetime | None:
        """Its month; None for the first partition."""
        found = _MONTH.match(self.name)
        return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC) if found else None


async def remove_expired(database_url: str, now: datetime, months: int) -> Removed:
    """Remove what was received before the last `months` whole months; nothing while another worker does the same.

    What cannot be locked in time is left for the next run.

    Raises:
        OSError, asyncpg.PostgresError: the store is away or refuses; what was removed stays so.

    """
    cutoff = month_of(now, -months)
    removed = Removed()
    async with connection(
        database_url,
        application_name="quizstream-retention",
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
    ) as session:
        if not await session.fetchval(_SQL["only_one"], _LOCK):
            return removed
        for record in await session.fetch(_SQL["partitions"]):
            partition = _Partition(*record)
            removed = removed.plus(await _if_free(partition.name, _expire(session, partition, cutoff)))
        quarantine = _remove_rows(session, "quarantined_events", _SQL["remove_quarantined"], cutoff)
        return removed.plus(await _if_free("quarantined_events", quarantine))


async def hold(session: Connection, course_id: int, reason: str) -> None:
    """Have nothing more of a course removed once this returns.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    await session.execute(_SQL["hold"], course_id, reason)


async def release(session: Connection, course_id: int) -> bool:
    """Let retention apply to a course again; tell whether it was held.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    return await session.execute(_SQL["release"], course_id) != "DELETE 0"


async def holds(session: Connection) -> list[Hold]:
    """Give the courses that are held.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    return [Hold(*record) for record in await session.fetch(_SQL["holds"])]


async def _if_free(table: str, work: Awaitable[Removed]) -> Removed:
    try:
        return await work
    except _PUT_OFF as error:
        log.warning("retention_put_off", table=table, error=type(error).__name__)
        return Removed(put_off=True)


async def _expire(session: Connection, partition: _Partition, cutoff: datetime) -> Removed:
    if partition.name.endswith(_RETIRED):
        return await _drop(session, partition, cutoff)
    if not partition.attached or (partition.month is not None and partition.month >= cutoff):
        return Removed()
    if partition.month is None or await _has_kept(session, partition.name, cutoff):
        statement = _of(partition.name, "remove_events")
        return await _remove_rows(session, partition.name, statement, cutoff)
    retired = partition._replace(name=partition.name + _RETIRED)
    await session.execute(f"ALTER TABLE {partition.name} RENAME TO {retired.name}")
    return await _drop(session, retired, cutoff)


async def _drop(session: Connection, retired: _Partition, cutoff: datetime) -> Removed:
    # Neither form runs in a transaction of ours; one that was interrupted can only be finalized.
    if retired.attached:
        how = "FINALIZE" if retired.pending else "CONCURRENTLY"
        await session.execute(f"ALTER TABLE quiz_submission_events DETACH PARTITION {retired.name} {how}")
    try:
        await _move_and_drop(session, retired.name, cutoff)
    except asyncpg.CheckViolationError:
        if retired.month is None:
            raise
        await make_months(session, [retired.month])
        await _move_and_drop(session, retired.name, cutoff)
    return Removed((retired.name.removesuffix(_RETIRED),))


async def _move_and_drop(session: Connection, name: str, cutoff: datetime) -> None:
    async with session.transaction():
        await _lock_holds(session)
        await session.execute(_of(name, "move_kept").replace("all_columns", ", ".join(COLUMNS)), cutoff)
        await session.execute(f"DROP TABLE {name}")


async def _lock_holds(session: Connection) -> None:
    # Nobody but who makes a hold waits behind us here, and a detached month must not wait for the next run.
    await session.execute("SET LOCAL lock_timeout = '60s'")
    await session.execute(_SQL["lock_holds"])


async def _has_kept(session: Connection, name: str, cutoff: datetime) -> bool:
    statement = _of(name, "has_kept")
    for first in range(0, await session.fetchval(_SQL["pages"], name), PAGES_AT_A_TIME):
        if await session.fetchval(statement, (first, 0), (first + PAGES_AT_A_TIME, 0), cutoff):
            return True
    return False


async def _remove_rows(session: Connection, name: str, statement: str, cutoff: datetime) -> Removed:
    removed = 0
    for first in range(0, await session.fetchval(_SQL["pages"], name), PAGES_AT_A_TIME):
        async with session.transaction():
            await _lock_holds(session)
            status = await session.execute(statement, (first, 0), (first + PAGES_AT_A_TIME, 0), cutoff)
        removed += int(status.rpartition(" ")[2])
    return Removed(rows=removed)


def _of(name: str, statement: str) -> str:
    """Give a statement for one partition; its name is one that the server gave and `partitions` has checked."""
    return _SQL[statement].replace("one_partition", name)
