"""What of the store is wrong, for `quizstream check`, as the account of a part sees it."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import asyncpg

from quizstream.contracts.findings import Finding, clock_finding
from quizstream.runtime.postgres import UNREACHABLE, Connection, connection, explain, load_statements
from quizstream.worker.migrate import migration_names
from quizstream.worker.months import last_month, months_between

Part = Literal["worker", "reader", "retention", "replica"]

LEAST_MONTHS_AHEAD: Final = 6  # of 12: half a year to notice

_SQL: Final = load_statements("quizstream.worker", "sql/check.sql")
_READS: Final = (("quiz_submission_events", "SELECT"), ("submissions", "SELECT"))
_NEEDS: Final[Mapping[Part, Sequence[tuple[str, str]]]] = {
    "worker": (
        *_READS,
        ("quiz_submission_events", "INSERT"),
        ("submissions", "INSERT"),
        ("submissions", "UPDATE"),
        ("topic_offsets", "SELECT"),
        ("topic_offsets", "INSERT"),
        ("topic_offsets", "UPDATE"),
        ("quarantined_events", "INSERT"),
        ("quarantined_events", "UPDATE"),
    ),
    "reader": _READS,
    "replica": _READS,
    "retention": (),
}
_ROLES: Final[Mapping[Part, str]] = {
    "worker": "quizstream_writer",
    "reader": "quizstream_reader",
    "replica": "quizstream_reader",
    "retention": "the account that migrates",
}


async def check_store(part: Part, database_url: str) -> list[Finding]:
    """Say what keeps a part from its work with the store of this URL."""
    name = f"postgresql ({part})"
    try:
        async with connection(database_url, application_name="quizstream-check") as session:
            return await _check(name, part, session)
    except (asyncpg.PostgresError, asyncpg.ClientConfigurationError, *UNREACHABLE) as error:
        fault = explain(error) or f"does not answer ({type(error).__name__})"
        return [Finding(name, fault, "see the URL of its settings, and whether the server runs")]


async def _check(name: str, part: Part, session: Connection) -> list[Finding]:
    asked = time.time()
    server = await session.fetchrow(_SQL["server"])
    assert server is not None  # noqa: S101  a statement without FROM gives a row
    found = clock_finding(name, server["seconds"], asked, time.time())
    if not server["fsync"]:
        found.append(Finding(name, "fsync is off: a crash may lose or damage everything", "set fsync = on"))
    if server["in_recovery"] and part not in {"replica", "reader"}:
        found.append(Finding(name, "is a replica, which takes no writes", "name the primary"))
    if server["superuser"]:
        fix = "give each part an account of its own (README, Accounts of the store)"
        found.append(Finding(name, "the account is a superuser", fix, advice=True))
    if not server["has_schema"]:
        return [*found, Finding(name, "the store has no tables", "run `quizstream migrate`")]
    return [*found, *await _check_schema(name, part, session)]


async def _check_schema(name: str, part: Part, session: Connection) -> list[Finding]:
    lacking = [need for need in _NEEDS[part] if not await session.fetchval(_SQL["may"], *need)]
    found = [
        Finding(name, f"the account may not {right} {table}", f"make it a member of {_ROLES[part]}")
        for table, right in lacking
    ]
    if part == "retention" and not await session.fetchval(_SQL["owns_events"]):
        fix = "name the account that migrates in QUIZSTREAM_RETENTION_DATABASE_URL"
        return [*found, Finding(name, "the account does not own the tables, and cannot drop months", fix)]
    if await session.fetchval(_SQL["may"], "schema_migrations", "SELECT"):
        found += await _check_version(name, session)
    return found + (await _check_months(name, session) if part == "worker" else [])


async def _check_version(name: str, session: Connection) -> list[Finding]:
    applied = {row["name"] for row in await session.fetch(_SQL["applied"])}
    missing = [migration for migration in migration_names() if migration not in applied]
    if missing:
        return [Finding(name, f"the store lacks {', '.join(missing)}", "run `quizstream migrate`")]
    return []


async def _check_months(name: str, session: Connection) -> list[Finding]:
    found = []
    if not await session.fetchval(_SQL["may_make_months"]):
        found.append(Finding(name, "the account may not make months", f"make it a member of {_ROLES['worker']}"))
    now = datetime.now(UTC)
    last = await last_month(session, now)
    ahead = -1 if last is None else months_between(now, last)
    if ahead < LEAST_MONTHS_AHEAD:
        fault = f"months are there for {max(ahead, 0)} ahead" if ahead >= 0 else "this month has no partition"
        found.append(Finding(name, fault, "run `quizstream migrate`, and see why no worker makes them"))
    return found
