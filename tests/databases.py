"""Databases for tests: made by copying, dropped at the end."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests import background


def unique(prefix: str) -> str:
    """A name that nobody else uses, as several runs may share a server."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@contextmanager
def created(server_url: str, template: str | None = None) -> Iterator[str]:
    """The name of a new database."""
    name = unique("quizstream_test").replace("-", "_")
    background.run(_execute(server_url, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
    try:
        yield name
    finally:
        background.run(_execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def copied(server_url: str, template: str) -> Iterator[str]:
    """The URL of a copy of a database that nobody is connected to."""
    with created(server_url, template) as name:
        yield url_of(server_url, name)


def url_of(server_url: str, name: str) -> str:
    """The same server and account, another database."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


@asynccontextmanager
async def away(session: "asyncpg.Connection[asyncpg.Record]", postgres_url: str) -> AsyncIterator[None]:
    """Nobody can connect to the store of this test, and nobody is connected but `session`."""
    name = await session.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            yield
        finally:
            await admin.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    finally:
        await admin.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
