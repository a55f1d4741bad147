"""Partitions of the events by month: made ahead of time, empty and attached, never in the way of writers."""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from quizstream.runtime.postgres import Connection, load_statements

MONTHS_AHEAD: Final = 12

_SQL: Final = load_statements("quizstream.worker", "sql/months.sql")


def month_of(instant: datetime, later: int = 0) -> datetime:
    """Give the first instant, in UTC, of the month that `instant` is in, or of one some months later (or earlier)."""
    years, months = divmod(instant.month - 1 + later, 12)
    return datetime(instant.year + years, months + 1, 1, tzinfo=UTC)


def months_ahead(now: datetime) -> Iterator[datetime]:
    """Give the months that must be there: from last month, for late events, to `MONTHS_AHEAD` after this one."""
    return (month_of(now, later) for later in range(-1, MONTHS_AHEAD + 1))


def months_between(first: datetime, second: datetime) -> int:
    """Count the months from that of `first` to that of `second`; negative where that is earlier."""
    return 12 * (second.year - first.year) + second.month - first.month


def last_of_run(now: datetime, names: Collection[str]) -> datetime | None:
    """Give the last month of those that follow one another from this one; None where there is none for this one.

    `names` are those of the partitions.
    """
    later = 0
    while partition_name(month_of(now, later)) in names:
        later += 1
    return month_of(now, later - 1) if later else None


def partition_name(month: datetime) -> str:
    """Give the name of a month's partition."""
    return f"quiz_submission_events_{month:%Y_%m}"


async def make_months(session: Connection, months: Iterable[datetime]) -> list[str]:
    """Make the partitions that are missing; give the names of those made.

    Another worker may do the same at the same time.

    Raises:
        asyncpg.PostgresError: a lock was not free in time, or the role may not; those made so far stay.

    """
    return [partition_name(month) for month in months if await session.fetchval(_SQL["make_month"], month.date())]


async def last_month(session: Connection, now: datetime) -> datetime | None:
    """Give the last month that events can be filed under without a gap from now on; None where there is none.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    names = {row["name"] for row in await session.fetch(_SQL["attached"])}
    return last_of_run(now, names)
