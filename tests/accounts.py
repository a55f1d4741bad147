"""Accounts of a test alone, as an operator makes them: with a login, and members of one of the roles."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests import background, databases


@contextmanager
def account(server_url: str, role: str | None = None) -> Iterator[str]:
    """The name and password, as `name:password`, of an account that is a member of `role`, or of none."""
    name, password = databases.unique("account").replace("-", "_"), secrets.token_hex(16)
    member = f" IN ROLE {role}" if role else ""
    background.run(_execute(server_url, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'{member}"))
    try:
        yield f"{name}:{password}"
    finally:
        background.run(_execute(server_url, f"DROP OWNED BY {name}; DROP ROLE {name}"))


def url_for(database_url: str, login: str) -> str:
    """The same database, for another account."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


async def _execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
