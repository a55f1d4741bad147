"""Who may do what in the store: roles without a login, which the accounts of the services are members of.

The account that migrates owns everything, and makes and drops tables; retention runs under it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

from quizstream.runtime.postgres import Connection, load_statements

WRITER: Final = "quizstream_writer"
READER: Final = "quizstream_reader"
OPERATOR: Final = "quizstream_operator"
ROLES: Final = (WRITER, READER, OPERATOR)

log: Final = structlog.get_logger(__name__)

_SQL: Final = load_statements("quizstream.worker", "sql/rights.sql")


async def missing_roles(session: Connection, roles: Sequence[str] = ROLES) -> list[str]:
    """Give those of the roles that the server does not have."""
    return [role for role in roles if not await session.fetchval(_SQL["role_exists"], role)]


async def make_roles(session: Connection, roles: Sequence[str] = ROLES) -> list[str]:
    """Make the roles that are missing; give those that are missing still, as this account may make none.

    Roles belong to the server: migrations of other databases may make the same ones at the same time.
    """
    for role in await missing_roles(session, roles):
        with suppress(
            asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError, asyncpg.InsufficientPrivilegeError
        ):  # the first two: somebody else was quicker
            await session.execute(f"CREATE ROLE {role} NOLOGIN")
    return await missing_roles(session, roles)


async def grant_rights(session: Connection) -> None:
    """Give each role what its part does, and no more; safe to repeat. Roles that cannot be made are left out.

    Raises:
        asyncpg.PostgresError: the account does not own the tables.

    """
    missing = await make_roles(session)
    if missing:
        log.warning("roles_missing", roles=missing)
    for role in ROLES:
        if role not in missing:
            await session.execute(_SQL[role.removeprefix("quizstream_")])
            if not await session.fetchval(_SQL["role_may_use_schema"], role):
                schema = await session.fetchval("SELECT quote_ident(current_schema())")
                await session.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
