"""Each part may do in the store what it does, and nothing else."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from tests import databases
from tests.accounts import account, url_for
from tests.waiting import eventually

from quizstream.contracts.metrics import PROCESS_METRICS, WORKER_METRICS
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import writing
from quizstream.worker.migrate import migrate
from quizstream.worker.months import make_months, month_of, partition_name
from quizstream.worker.quarantine import Selection, drop, find, mark_replayed
from quizstream.worker.retention import hold, holds, release
from quizstream.worker.rights import OPERATOR, READER, ROLES, WRITER, grant_rights, make_roles
from quizstream.worker.settings import WorkerSettings

NOW = datetime.now(UTC)

TABLES = ("quiz_submission_events", "submissions", "quarantined_events", "topic_offsets", "retention_holds")


@pytest.fixture
def writer(postgres_url: str, database_url: str) -> Iterator[str]:
    with account(postgres_url, WRITER) as login:
        yield url_for(database_url, login)


@pytest.fixture
def reader(postgres_url: str, database_url: str) -> Iterator[str]:
    with account(postgres_url, READER) as login:
        yield url_for(database_url, login)


@pytest.fixture
def operator(postgres_url: str, database_url: str) -> Iterator[str]:
    with account(postgres_url, OPERATOR) as login:
        yield url_for(database_url, login)


@asynccontextmanager
async def session_of(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def refused(url: str, statements: list[str]) -> None:
    async with session_of(url) as session:
        for statement in statements:
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                await session.execute(statement)


def changes_of_the_schema() -> list[str]:
    month = partition_name(month_of(NOW, 3))
    return [
        "ALTER TABLE quiz_submission_events ADD COLUMN grade integer",
        "ALTER TABLE quiz_submission_events DROP COLUMN actor",
        "DROP TABLE submissions",
        f"DROP TABLE {month}",
        f"ALTER TABLE quiz_submission_events DETACH PARTITION {month}",
        "TRUNCATE quiz_submission_events",
        "CREATE TABLE grades (grade integer)",
        "CREATE OR REPLACE FUNCTION make_month(first_day date) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "DROP FUNCTION make_month(date)",
    ]


def changes_of_rows(tables: tuple[str, ...]) -> list[str]:
    return [f"DELETE FROM {table}" for table in tables] + [f"UPDATE {table} SET {FIRST[table]}" for table in tables]


FIRST = {
    "quiz_submission_events": "attempt = 2",
    "submissions": "latest_attempt = 2",
    "quarantined_events": "raw = ''",
    "topic_offsets": "id_base = 1",
    "retention_holds": "reason = ''",
}


async def test_a_worker_changes_neither_the_schema_nor_what_it_has_stored(writer: str) -> None:
    await refused(writer, changes_of_the_schema())
    await refused(writer, changes_of_rows(("quiz_submission_events", "retention_holds")))
    await refused(writer, ["DELETE FROM submissions", "DELETE FROM topic_offsets", "DELETE FROM quarantined_events"])
    await refused(writer, ["UPDATE topic_offsets SET id_base = 1", "SELECT raw FROM quarantined_events"])
    await refused(writer, ["SET ROLE quizstream_operator", "INSERT INTO schema_migrations (name) VALUES ('x')"])


async def test_a_worker_makes_months_and_none_far_ahead(writer: str, database_url: str) -> None:
    missing = partition_name(month_of(NOW, 2))
    async with session_of(database_url) as owner:
        await owner.execute(f"DROP TABLE {missing}")
    async with session_of(writer) as session:
        made = await make_months(session, [month_of(NOW, 1), month_of(NOW, 2), month_of(NOW, 13)])
        assert made == [missing, partition_name(month_of(NOW, 13))]
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await make_months(session, [month_of(NOW, 15)])
        assert await make_months(session, [month_of(NOW, -240)]) == []  # the first partition has it


async def test_months_that_several_workers_make_at_once_are_made_once(writer: str) -> None:
    async def make() -> list[str]:
        async with session_of(writer) as session:
            return await make_months(session, [month_of(NOW, 13)])

    made = await asyncio.gather(*(make() for _ in range(6)))
    assert sorted(made) == [[], [], [], [], [], [partition_name(month_of(NOW, 13))]]


async def test_a_reader_writes_nothing_and_sees_no_quarantine(reader: str) -> None:
    await refused(reader, changes_of_the_schema())
    await refused(reader, changes_of_rows(TABLES))
    await refused(reader, ["SELECT make_month('2026-12-01')", "INSERT INTO submissions VALUES (1, 1)"])
    await refused(
        reader, ["SELECT FROM quarantined_events", "SELECT FROM topic_offsets", "SELECT FROM retention_holds"]
    )
    async with session_of(reader) as session:
        await session.execute("SELECT * FROM quiz_submission_events; SELECT * FROM submissions")


async def test_an_operator_settles_quarantine_and_holds_and_reads_no_log(operator: str) -> None:
    await refused(operator, changes_of_the_schema())
    await refused(operator, ["SELECT FROM quiz_submission_events", "UPDATE quarantined_events SET raw = ''"])
    async with session_of(operator) as session:
        await hold(session, 7, "appeal")
        await hold(session, 7, "appeal, again")
        assert [held.course_id for held in await holds(session)] == [7]
        assert await release(session, 7)
        assert await find(session, Selection()) == []
        await mark_replayed(session, [])
        assert await drop(session, Selection()) == 0


async def test_an_account_without_a_role_may_nothing(postgres_url: str, database_url: str) -> None:
    with account(postgres_url) as login:
        nobody = url_for(database_url, login)
        await refused(nobody, [f"SELECT FROM {table}" for table in TABLES])
        await refused(nobody, ["SELECT make_month('2026-12-01')"])


async def test_roles_that_several_databases_make_at_once_are_made_once(postgres_url: str) -> None:
    roles = [databases.unique("role").replace("-", "_") for _ in range(3)]

    async def make() -> list[str]:
        async with session_of(postgres_url) as session:
            return await make_roles(session, roles)

    try:
        assert await asyncio.gather(*(make() for _ in range(8))) == [[]] * 8
    finally:
        async with session_of(postgres_url) as session:
            await session.execute(f"DROP ROLE {', '.join(roles)}")


async def test_an_account_that_may_make_no_roles_migrates_all_the_same(postgres_url: str) -> None:
    with databases.created(postgres_url) as name, account(postgres_url) as login:
        database_url = databases.url_of(postgres_url, name)
        async with session_of(database_url) as session:
            await session.execute(f"ALTER DATABASE {name} OWNER TO {login.partition(':')[0]}")
        owner = url_for(database_url, login)
        assert await migrate(owner)
        async with session_of(owner) as session:
            unknown = databases.unique("role").replace("-", "_")
            assert await make_roles(session, [unknown]) == [unknown]
            await grant_rights(session)
        async with session_of(database_url) as session:  # else the account could not be dropped
            await session.execute(f"REASSIGN OWNED BY {login.partition(':')[0]} TO CURRENT_USER")


async def test_the_script_for_administrators_makes_the_same_roles(database_url: str) -> None:
    script = (Path(__file__).parents[2] / "deploy" / "roles.sql").read_text("utf-8")
    assert all(f"'{role}'" in script for role in ROLES)
    async with session_of(database_url) as session:
        await session.execute(script)
        await session.execute(script)


async def test_retention_works_under_the_account_that_migrates(
    settings: WorkerSettings, writer: str, database_url: str, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    old = "INSERT INTO quiz_submission_events VALUES (1, 1, 1, 1, 1, $1, 'left', NULL, $2, $2, NULL, 'null')"
    await session.execute(old, uuid.uuid4(), month_of(NOW, -30))
    told = {"database_url": SecretStr(writer), "retention_months": 1, "retention_database_url": SecretStr(database_url)}

    async def gone() -> bool:
        return not await session.fetchval("SELECT count(*) FROM quiz_submission_events")

    async with writing(settings.model_copy(update=told), Lifetime(), Meters((*PROCESS_METRICS, *WORKER_METRICS))):
        await eventually(gone)
