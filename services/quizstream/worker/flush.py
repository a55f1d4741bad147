"""Writing a batch until it is written: what each failure of the store asks for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import asyncpg
import structlog

from quizstream.runtime.postgres import UNREACHABLE, connection
from quizstream.worker.batch import Batch, count_rows, split
from quizstream.worker.months import make_months, month_of, months_ahead
from quizstream.worker.sqlstate import Verdict, may_be_a_value, verdict
from quizstream.worker.store import Written

log: Final = structlog.get_logger(__name__)

ISOLATED_ROWS: Final = 1_000  # bisecting n bad rows takes about 2n statements: one transaction stays within seconds
EQUAL_FAILURES: Final = 10
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class RowStore(Protocol):
    """What is needed of the store."""

    async def write(
        self, batch: Batch, *, isolate: bool = False, also_refused: Collection[str] = frozenset()
    ) -> Written:
        """Write a batch in one transaction (`store.Store.write`)."""
        ...

    async def ping(self) -> None:
        """Ask the store for an answer."""
        ...


MakeMonths = Callable[[Collection[str]], Awaitable[bool]]
"""Makes the partitions of months such as `2026-11`, as far as they may be; raises what PostgreSQL raises.

Tells whether there was one to make.
"""


class Stopped(Exception):  # noqa: N818  a situation: the process is told to end while it waits
    """The wait for the store was ended; the batch is not known to be written, and is read again after the start."""


class Flusher:
    """Writes batches; waits out what time heals and isolates what it does not.

    `failing` is true while the store does not take what it is given; `failed` is told of every failure.
    """

    def __init__(
        self,
        store: RowStore,
        make_months: MakeMonths,
        stopping: asyncio.Event,
        failed: Callable[[Verdict], None],
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._make_months = make_months
        self._stopping = stopping
        self._failed = failed
        self._first_pause_seconds = first_pause_seconds
        self.failing = False

    async def flush(self, batch: Batch) -> AsyncIterator[Written]:
        """Write a batch, in one transaction where all is well, and in several where a value is refused.

        Raises:
            Stopped: the process is to end, and the store does not take the batch.

        """
        trouble = _Trouble(self._first_pause_seconds)
        while True:
            try:
                written = await self._store.write(batch)
            except (asyncpg.PostgresError, *UNREACHABLE) as error:
                if await self._asks_to_isolate(error, trouble, batch):
                    break
            else:
                self.failing = False
                yield written
                return
        for part in split(batch, ISOLATED_ROWS):
            yield await self._isolate(part, trouble)

    async def _isolate(self, part: Batch, trouble: "_Trouble") -> Written:
        while True:
            try:
                written = await self._store.write(part, isolate=True, also_refused=trouble.suspects)
            except (asyncpg.PostgresError, *UNREACHABLE) as error:
                if await self._asks_to_isolate(error, trouble, part):
                    await self._wait("outage", trouble)  # what isolation does not help is waited out
            else:
                self.failing = False
                return written

    async def _asks_to_isolate(self, error: BaseException, trouble: "_Trouble", batch: Batch) -> bool:
        """Tell whether a value is at fault; otherwise wait as long as the error asks for."""
        sqlstate = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
        constraint = error.constraint_name if isinstance(error, asyncpg.PostgresError) else None
        found = verdict(sqlstate, constraint)
        rows = count_rows(batch)
        log.warning("flush_failed", error=type(error).__name__, sqlstate=sqlstate, meaning=found, rows=rows)
        self._failed(found)
        if found == "refused":
            return True
        if found == "month_missing":
            made = await self._months_made(batch)
            if made is not None:
                return not made  # what has no month, though all were there, is refused by value
        elif trouble.repeats(sqlstate) and await self._answers():
            trouble.suspect(sqlstate)
            return True
        await self._wait(found, trouble)
        return False

    async def _wait(self, found: Verdict, trouble: "_Trouble") -> None:
        self.failing = self.failing or found != "again"
        await pause(self._stopping, trouble.pause_seconds(found))
        if self._stopping.is_set():
            raise Stopped

    async def _months_made(self, batch: Batch) -> bool | None:
        """Tell whether months were made that were missing; None where that cannot be done now."""
        try:
            return await self._make_months(
                {event.occurred_at[: len("2026-11")].decode() for part in batch for event in part.events()}
            )
        except (asyncpg.PostgresError, *UNREACHABLE) as error:
            log.warning("months_not_made", error=type(error).__name__)
            return None

    async def _answers(self) -> bool:
        try:
            await self._store.ping()
        except (asyncpg.PostgresError, *UNREACHABLE):
            return False
        return True


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until the process is to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def make_missing_months(database_url: str, months: Collection[str]) -> bool:
    """Make the partitions of these months, but none further ahead than `months_ahead`; tell whether any was missing.

    Raises:
        OSError, asyncpg.PostgresError: the store does not let us, now.

    """
    last = max(months_ahead(datetime.now(UTC)))
    wanted = sorted(month for month in map(_month, months) if month is not None and month <= last)
    async with connection(database_url, application_name="quizstream-months") as session:
        if made := await make_months(session, wanted):
            log.warning("months_made_late", partitions=made)
    return bool(made)


class _Trouble:
    """What has gone wrong with one batch so far."""

    def __init__(self, first_pause_seconds: float) -> None:
        self._first_pause_seconds = first_pause_seconds
        self.suspects: set[str] = set()
        self._last: str | None = None
        self._equal = 0
        self._pauses = 0

    def repeats(self, sqlstate: str | None) -> bool:
        """Take note of a failure; tell whether the same has come too often to be an outage."""
        self._equal = self._equal + 1 if sqlstate == self._last else 1
        self._last = sqlstate
        return self._equal >= EQUAL_FAILURES and may_be_a_value(sqlstate)

    def suspect(self, sqlstate: str | None) -> None:
        """Take a repeated failure for the refusal of a value."""
        self.suspects |= {sqlstate} if sqlstate else set()
        self._equal = 0

    def pause_seconds(self, found: Verdict) -> float:
        """Give the time to wait: short where the same may work at once, doubling where the store is away."""
        if found == "again":
            return self._first_pause_seconds
        self._pauses += 1
        return min(self._first_pause_seconds * 2.0 ** min(self._pauses, 10), LONGEST_PAUSE_SECONDS)


def _month(text: str) -> datetime | None:
    try:
        return month_of(datetime.fromisoformat(f"{text}-01"))
    except ValueError:
        return None
