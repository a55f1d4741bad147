"""Migrations: SQL files of this package, applied in order, each once, forward only."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import asyncpg

from quizstream.runtime.postgres import Connection, connection
from quizstream.worker.months import make_months, months_ahead
from quizstream.worker.rights import grant_rights

_LOCK: Final = 0x7175697A  # any number that other users of the database do not take: "quiz" in ASCII

# The server ends one of both after a second; now and then that is us.
DEADLOCK_TRIES: Final = 10

_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text        PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


async def migrate(database_url: str) -> list[str]:
    """Bring the store to this version, with months ahead and rights; give the names of the migrations applied.

    Safe to run at the same time from several places: one does the work, the others wait. Each migration is one
    transaction.

    Raises:
        OSError, asyncpg.PostgresError: the server cannot be reached, or refuses; earlier migrations stay applied.

    """
    async with connection(
        database_url, application_name="quizstream-migrate", lock_timeout_seconds=30, statement_timeout_seconds=600
    ) as session:
        await session.execute("SELECT pg_advisory_lock($1)", _LOCK)
        applied = await _apply(session)
        await make_months(session, months_ahead(datetime.now(UTC)))
        await grant_rights(session)
        return applied


def migration_names() -> list[str]:
    """Give the names of the migrations of this version, in order."""
    return [name for name, _ in _migrations()]


async def _apply(session: Connection) -> list[str]:
    await session.execute(_HISTORY)
    known = {row["name"] for row in await session.fetch("SELECT name FROM schema_migrations")}
    applied = []
    for name, statements in _migrations():
        if name in known:
            continue
        await _apply_one(session, name, statements)
        applied.append(name)
    return applied


async def _apply_one(session: Connection, name: str, statements: str) -> None:
    """Apply a migration; again where it and those who write meanwhile have waited for each other."""
    for tries_left in reversed(range(DEADLOCK_TRIES)):
        try:
            async with session.transaction():
                await session.execute(statements)
                await session.execute("INSERT INTO schema_migrations (name) VALUES ($1)", name)
        except asyncpg.DeadlockDetectedError:
            if not tries_left:
                raise
        else:
            return


def _migrations() -> Iterator[tuple[str, str]]:
    folder = files("quizstream.worker") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            yield file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")
