"""PostgreSQL: connections with bounded waits, and statements from files."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# What a driver raises when the server cannot be reached, went away or did not answer in time.
# `InternalClientError`: the server ended an idle session, and asyncpg took its last words for a mistake of its own.
UNREACHABLE: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
)

_NAMED: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load_statements(package: str, file_name: str) -> Mapping[str, str]:
    """Read the named statements of an SQL file inside a package.

    Each begins with a line `-- name: NAME`; the comment lines after it say what the statement is for.
    """
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    parts = _NAMED.split(text)[1:]
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def _server_settings(
    application_name: str, statement_timeout_seconds: float, lock_timeout_seconds: float
) -> dict[str, str]:
    return {
        "application_name": application_name,
        "timezone": "UTC",
        "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}",
        "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{statement_timeout_seconds * 1000:.0f}",
    }


@asynccontextmanager
async def connection(
    database_url: str,
    *,
    application_name: str,
    connect_timeout_seconds: float = 5,
    statement_timeout_seconds: float = 30,
    lock_timeout_seconds: float = 5,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open one connection, whose statements and waits for locks end in bounded time; it is closed on the way out.

    Raises:
        OSError, asyncpg.PostgresError: the server cannot be reached or refuses the connection.

    """
    opened = await asyncpg.connect(
        database_url,
        timeout=connect_timeout_seconds,
        server_settings=_server_settings(application_name, statement_timeout_seconds, lock_timeout_seconds),
    )
    try:
        yield opened
    finally:
        try:
            await opened.close(timeout=connect_timeout_seconds)
        except (TimeoutError, *UNREACHABLE):
            opened.terminate()


async def _keep_session(_: Connection) -> None:
    return


@asynccontextmanager
async def pool(
    database_url: str,
    *,
    application_name: str,
    max_size: int,
    connect_timeout_seconds: float = 3,
    statement_timeout_seconds: float = 30,
    statement_cache_size: int = 100,
    session_settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Pool]:
    """Open a pool; it opens without a server, and each use of it shows whether there is one.

    Connections are given back as they are, which saves a statement each time: users keep no state in the session but
    what `session_settings` (parameters of PostgreSQL) give all of them.
    """
    opened = asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=max_size,
        timeout=connect_timeout_seconds,
        statement_cache_size=statement_cache_size,
        reset=_keep_session,
        server_settings={
            **_server_settings(application_name, statement_timeout_seconds, statement_timeout_seconds),
            **(session_settings or {}),
        },
    )
    try:
        await opened
        yield opened
    finally:
        opened.terminate()
