"""What is in quarantine: finding, reading and dropping it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from quizstream.runtime.postgres import Connection, load_statements
from quizstream.worker.batch import RawKind

DROPPED_ROWS: Final = 1_000  # of one statement

_SQL: Final = load_statements("quizstream.worker", "sql/quarantine.sql")

Item = TypeVar("Item")


class Selection(NamedTuple):
    """Which rows are meant; None does not restrict. `since` and `until` bound the time of quarantine, half-open."""

    ids: Sequence[UUID] | None = None
    reason: str | None = None
    course_id: int | None = None
    submission_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


class Quarantined(NamedTuple):
    """A row of quarantine without its payload.

    `replayed_at`: sent again, and neither stored nor refused since. `stored_at`: its event was stored after a replay.
    """

    quarantine_id: UUID
    quarantined_at: datetime
    received_at: datetime
    reason: str
    sqlstate: str | None
    course_id: int | None
    quiz_id: int | None
    submission_id: int | None
    attempt: int | None
    actor: str | None
    element_index: int | None
    topic: str
    partition: int
    record_offset: int
    raw_kind: RawKind
    raw_bytes: int
    replayed_at: datetime | None
    stored_at: datetime | None


async def find(session: Connection, selection: Selection) -> list[Quarantined]:
    """Give what is in quarantine and fits, the newest first.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    return [_row(record) for record in await session.fetch(_SQL["find"], *selection)]


async def describe(session: Connection, quarantine_id: UUID) -> Quarantined | None:
    """Give one row, also where its event has been stored; None where there is no such row.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    record = await session.fetchrow(_SQL["describe"], quarantine_id)
    return None if record is None else _row(record)


async def payloads(session: Connection, ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """Give what was sent, of those that are still in quarantine.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    return {record["quarantine_id"]: record["raw"] for record in await session.fetch(_SQL["raw"], ids)}


async def mark_replayed(session: Connection, ids: Sequence[UUID]) -> None:
    """Take note that these are about to be sent again.

    Raises:
        asyncpg.PostgresError: the store refuses.

    """
    await session.execute(_SQL["mark_replayed"], ids)


async def drop(session: Connection, selection: Selection) -> int:
    """Delete what fits, but nothing of courses that are held; give how many rows went.

    Raises:
        asyncpg.PostgresError: the store refuses; what was deleted before stays so.

    """
    dropped = 0
    ids = [row.quarantine_id for row in await find(session, selection)]
    for some in chunks(ids, DROPPED_ROWS):
        dropped += int((await session.execute(_SQL["drop"], some)).rpartition(" ")[2])
    return dropped


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into parts of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _row(record: asyncpg.Record) -> Quarantined:
    return Quarantined(*record)
