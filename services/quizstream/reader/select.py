"""Which events a page shows, and in which rounds they are read."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import asyncpg
import structlog
from structlog.typing import FilteringBoundLogger

from quizstream.contracts.errors import TryLater
from quizstream.contracts.resources import MAX_ID, Attempt, Resource
from quizstream.reader.page_query import MEMBERS, Member
from quizstream.runtime.postgres import UNREACHABLE, Connection, ReadPool, load_statements

_SQL: Final = load_statements("quizstream.reader", "sql/events.sql")

# Every statement here goes by the primary key. Planned anew for each call, over all months, it takes longer to plan
# than to run; planned once, a month that was known to be empty would be read from end to end when it has filled since.
SESSION_SETTINGS: Final[Mapping[str, str]] = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}

log: FilteringBoundLogger = structlog.get_logger()


class Key(NamedTuple):
    """Where an event stands in the order of its log."""

    created_at: datetime
    event_id: int


BEFORE_ALL: Final = Key(datetime(1, 1, 1, tzinfo=UTC), -1)


class Selection(NamedTuple):
    """The events asked for: of a log, up to the id `as_of`, those of one page, with these members.

    `attempt` None: the latest; `as_of` None: all that is there now.
    """

    resource: Resource
    attempt: Attempt | None
    as_of: int | None
    page: int
    per_page: int
    included: frozenset[Member]

    @property
    def skipped(self) -> int:
        """The number of events before the page; behind `MAX_ID` there is none."""
        return min((self.page - 1) * self.per_page, MAX_ID)


class Round(NamedTuple):
    """So many events that follow each other, up to a `created_at`, with the greatest `occurred_at` among them."""

    events: int
    created_until: datetime
    occurred_until: datetime


class PagePlan(NamedTuple):
    """A page of a log as it stood at one moment.

    `attempt` is None where the submission is unknown, `last_id` (the largest in the log) where the log is empty. The
    first round begins after the key `after`.
    """

    attempt: Attempt | None
    events_in_log: int
    last_id: int | None
    after: Key
    rounds: Sequence[Round]

    @property
    def events(self) -> int:
        """The number of events on the page."""
        return sum(round_.events for round_ in self.rounds)


class Reading:
    """One connection to the store, for as long as a statement or two take."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def position(self) -> int:
        """Give where the server is in the log of its changes, or how far it has replayed that of another."""
        found: int = await self._connection.fetchval(_SQL["position"])
        return found

    async def short_log(self, selection: Selection) -> tuple[PagePlan, bytes] | None:
        """Give a page with its events, as `render` does, if it is a whole log of few, small events; else None.

        Finding out that it is none costs as much as rendering a page, but at most 1,001 events.
        """
        if selection.page > 1:
            return None
        row = await self._connection.fetchrow(
            _SQL["short_log"],
            selection.resource.submission_id,
            selection.resource.course_id,
            selection.resource.quiz_id,
            selection.attempt,
            MAX_ID if selection.as_of is None else selection.as_of,
            selection.per_page,
            *_shown(selection),
        )
        if row is None or row["body"] is None:
            return None
        events = row["events_in_log"]
        rounds = [Round(events, row["created_until"], row["occurred_until"])] if events else []
        return PagePlan(row["attempt"], events, row["last_id"], BEFORE_ALL, rounds), row["body"]

    async def plan(self, selection: Selection) -> PagePlan:
        """Cut a page into rounds of at most 2,000 events and 4 MiB; a larger event is a round of its own."""
        rows = await self._connection.fetch(
            _SQL["plan_page"],
            selection.resource.submission_id,
            selection.resource.course_id,
            selection.resource.quiz_id,
            selection.attempt,
            MAX_ID if selection.as_of is None else selection.as_of,
            selection.skipped,
            selection.per_page,
            "client_timestamp" in selection.included,
        )
        return _plan(rows, begins_later=selection.skipped > 0)

    async def render(self, selection: Selection, plan: PagePlan, round_: Round, after: Key) -> tuple[bytes, Key]:
        """Give a round's events as JSON objects joined by commas, and the key of its last.

        Ids ascend with time within a submission, so the plan holds for later events; only removal can break it.

        Raises:
            TryLater: events of the plan are gone.

        """
        row = await self._connection.fetchrow(
            _SQL["render_round"],
            selection.resource.submission_id,
            selection.resource.course_id,
            selection.resource.quiz_id,
            plan.attempt,
            plan.last_id,
            *after,
            round_.events,
            round_.created_until,
            round_.occurred_until,
            *_shown(selection),
        )
        if row is None or row["events"] != round_.events:
            raise TryLater("log_changed", "The log has just changed.")
        return row["body"], Key(round_.created_until, row["last_id"])


class EventStore(Protocol):
    """What logs are read from: one server, or several."""

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """Give a connection to read with; entering raises `TryLater` where there is none."""
        ...

    async def check(self) -> None:
        """Raise `TryLater` while nothing can be read."""
        ...


class Store:
    """The store as the reader sees it. It holds no connection while an answer is sent.

    `timeout_seconds` bounds one reading, with the time to get a connection; giving one back after a time-out takes at
    most half of that again. The database ends statements by itself: see `create_store`.
    """

    def __init__(self, pool: ReadPool, timeout_seconds: float) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Give a connection to read with.

        Raises:
            TryLater: the store cannot be reached or does not answer in time.

        """
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._pool.connection(self._timeout_seconds / 2) as connection,
            ):
                yield Reading(connection)
        except (asyncpg.PostgresError, *UNREACHABLE) as error:
            log.warning("store_unavailable", exc_info=error)
            raise TryLater("store_unavailable", "The store does not answer.") from error

    async def check(self) -> None:
        """Raise while the store does not answer.

        Raises:
            TryLater: see `reading`.

        """
        async with self.reading() as reading:
            await reading.position()


def _shown(selection: Selection) -> Iterator[bool]:
    return (member in selection.included for member in MEMBERS)


def _plan(rows: Sequence[asyncpg.Record], *, begins_later: bool) -> PagePlan:
    rounds = [row for row in rows if row["events"] is not None]
    after = BEFORE_ALL
    if begins_later and rounds:
        before = rounds.pop(0)
        after = Key(before["created_until"], before["largest_id"])
    return PagePlan(
        attempt=rows[0]["attempt"],
        events_in_log=rows[0]["events_in_log"],
        last_id=rows[0]["last_id"],
        after=after,
        rounds=[Round(row["events"], row["created_until"], row["occurred_until"]) for row in rounds],
    )
