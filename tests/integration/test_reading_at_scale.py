"""A reader on a real replica, and behind a real PgBouncer."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson
import pytest
from pydantic import SecretStr
from tests import programs
from tests.accounts import account
from tests.secure_engines import _account, _hand_over
from tests.waiting import eventually, scaled

from quizstream.contracts.access import GET_SCOPE, grant_from_claims
from quizstream.contracts.errors import TokenRefused, keys_unavailable
from quizstream.contracts.metrics import READER_METRICS
from quizstream.local import ports, postgres
from quizstream.local.directories import private
from quizstream.local.packages import POSTGRES_BINARIES
from quizstream.local.processes import Engine, Program, run_tool
from quizstream.reader.app import _refuse_unusable, create_app, opened
from quizstream.reader.settings import ReaderSettings
from quizstream.runtime.access import Refusals, issue_token, open_verifier
from quizstream.runtime.lifecycle import Lifetime, StartRefused
from quizstream.runtime.postgres import PoolTerms, read_pool
from quizstream.runtime.telemetry import Meters, configure_logging
from quizstream.runtime.web import Site, serving
from quizstream.worker.migrate import migrate
from quizstream.worker.rights import READER

SECRET = "a secret of these tests, of 32 bytes or more"
EVENT = """
INSERT INTO quiz_submission_events VALUES
    ($1, $2, 1, 2, 1, gen_random_uuid(), 'page_blurred', NULL, now(), now(), NULL, $3)
"""


async def write(session: "asyncpg.Connection[asyncpg.Record]", number: int, submission: int = 7) -> None:
    await session.execute(EVENT, number, submission, orjson.dumps({"n": number}).decode())
    await session.execute("INSERT INTO submissions VALUES ($1, 1) ON CONFLICT DO NOTHING", submission)


class Api:
    def __init__(self, client: aiohttp.ClientSession, meters: Meters) -> None:
        self._client = client
        self._meters = meters

    async def get(self, submission: int = 7) -> tuple[int, list[int]]:
        async with self._client.get(f"/api/v1/courses/1/quizzes/2/submissions/{submission}/events") as answer:
            events = orjson.loads(await answer.read()).get("quiz_submission_events", ())
            return answer.status, [event["event_data"]["n"] for event in events]

    def readings(self, server: str) -> float:
        return self._meters.registry.get_sample_value("quizstream_readings_total", {"server": server}) or 0.0


def configured(database_url: str, **changes: object) -> ReaderSettings:
    return ReaderSettings.model_validate({"database_url": database_url, "jwt_secret": SECRET, **changes})


@asynccontextmanager
async def served(settings: ReaderSettings) -> AsyncIterator[Api]:
    meters, lifetime = Meters(READER_METRICS), Lifetime()
    verifier = await open_verifier(settings, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    token = issue_token(SECRET, {"sub": "teacher", "scope": GET_SCOPE}, 3600)
    async with (
        opened(settings, verifier, meters, lifetime) as reader,
        serving(create_app(reader), Site("127.0.0.1", 0, finish_seconds=1)) as port,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(scaled(20)),
        ) as client,
    ):
        yield Api(client, meters)
        assert not lifetime.failed


@dataclass(frozen=True)
class Replicated:
    """A primary and a replica that streams from it."""

    primary: Engine
    replica: Engine


@asynccontextmanager
async def replicated(directory: Path) -> AsyncIterator[Replicated]:
    async with postgres.server(directory / "primary", directory / "logs", ports.any_free()) as primary:
        await migrate(primary.address)
        data = private(directory / "replica")
        shutil.copy(directory / "primary" / "password", data / "password")
        home = postgres._Home(data, private(directory / "replica-logs"), _account())
        _hand_over(data, home.account)
        source = ("-d", primary.address, "-D", str(home.cluster), "-R", "--checkpoint=fast", "--no-sync")
        await run_tool(home.program("pg_basebackup", *source))
        replica = home.engine(ports.any_free())
        await replica.start()
        try:
            yield Replicated(primary, replica)
        finally:
            await replica.stop()


@pytest.fixture(autouse=True)
def _logs_as_in_production() -> None:
    configure_logging("info", "json")


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Replicated]:
    if not (POSTGRES_BINARIES / "pg_basebackup").exists():
        pytest.skip("this build of the embedded PostgreSQL has no pg_basebackup")
    async with replicated(tmp_path) as started:
        yield started


async def test_a_replica_is_read_while_it_is_fresh_and_the_primary_while_it_is_not(servers: Replicated) -> None:
    settings = configured(
        servers.primary.address, read_database_url=servers.replica.address, read_staleness_seconds=2.0
    )
    writing = await asyncpg.connect(servers.primary.address)
    replaying = await asyncpg.connect(servers.replica.address)
    async with served(settings) as api:

        async def shows(expected: list[int], server: str) -> bool:
            before = api.readings(server)
            return await api.get() == (200, expected) and api.readings(server) > before

        await write(writing, 1)
        await eventually(lambda: shows([1], "replica"))
        await replaying.execute("SELECT pg_wal_replay_pause()")
        await write(writing, 2)
        assert await api.get() == (200, [1])  # within the bound
        await eventually(lambda: shows([1, 2], "primary"))
        await replaying.execute("SELECT pg_wal_replay_resume()")
        await eventually(lambda: shows([1, 2], "replica"))
        await replaying.close()
        await servers.replica.kill()
        await eventually(lambda: shows([1, 2], "primary"))
        await servers.replica.start()
        await eventually(lambda: shows([1, 2], "replica"))
        await writing.close()
        await servers.primary.kill()
        assert await shows([1, 2], "replica")

        async def unavailable() -> bool:
            return (await api.get())[0] == 503

        await eventually(unavailable)


@asynccontextmanager
async def pgbouncer(directory: Path, database_url: str, login: str) -> AsyncIterator[str]:
    """Two sessions that all clients share, a transaction at a time; gives the URL through it."""
    program = programs.require_program("pgbouncer")
    server, home, port = urlsplit(database_url), private(directory / "pgbouncer"), ports.any_free()
    user, _, password = login.partition(":")
    told: Mapping[str, object] = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "pool_mode": "transaction",
        "default_pool_size": 2,
        "auth_type": "scram-sha-256",
        "auth_file": home / "users.txt",
    }
    (home / "users.txt").write_text(f'"{user}" "{password}"\n')
    lines = "".join(f"{name} = {value}\n" for name, value in told.items())
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.hostname} port={server.port}\n[pgbouncer]\n{lines}"
    )
    _hand_over(home, _account())
    command = (program, str(home / "pgbouncer.ini"))
    url = f"postgresql://{login}@127.0.0.1:{port}{server.path}"
    told_program = Program(
        name="PgBouncer", command=command, directory=home, log=directory / "bouncer.log", account=_account()
    )

    async def is_up(logged: bytes) -> bool:
        return b"process up" in logged

    engine = Engine(url, told_program, is_up)
    await engine.start()
    try:
        yield url
    finally:
        await engine.stop()


async def test_a_reader_works_behind_a_pooler_that_shares_sessions(
    postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    submissions = range(1, 31)
    session = await asyncpg.connect(database_url)
    for submission in submissions:
        await write(session, submission, submission)
    with account(postgres_url, READER) as login:
        async with pgbouncer(tmp_path, database_url, login) as pooled:
            settings = configured(pooled, statement_cache_size=0)
            await _refuse_unusable(settings)
            async with served(settings) as api:
                for _ in range(3):
                    answers = await asyncio.gather(*map(api.get, submissions))
                    assert answers == [(200, [submission]) for submission in submissions]
            await session_of_a_pool_is_bound(pooled)
            with pytest.raises(StartRefused, match="QUIZSTREAM_STATEMENT_CACHE_SIZE=0"):
                await _refuse_unusable(configured(pooled))
    await session.close()


async def session_of_a_pool_is_bound(url: str) -> None:
    asked = "SELECT name, setting FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_read_only')"
    async with read_pool(url, PoolTerms("test", 2, 1.5, 0)) as connections:
        for _ in range(2):
            async with connections.connection(5) as connection:
                found = await connection.fetch(asked)
                assert {row[0]: row[1] for row in found} == {"statement_timeout": "1500", "transaction_read_only": "on"}
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with connections.connection(5) as connection:
                await connection.execute("CREATE TEMPORARY TABLE t ()")
        async with connections.connection(5) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_sessions_of_a_reader_are_read_only(database_url: str) -> None:
    async with read_pool(database_url, PoolTerms("test", 1)) as connections, connections.connection(5) as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM submissions")


def test_an_address_of_a_replica_is_a_secret() -> None:
    settings = configured("postgresql://db/quiz", read_database_url="postgresql://u:hush@replica/quiz")
    assert settings.read_database_url == SecretStr("postgresql://u:hush@replica/quiz")
    assert "hush" not in repr(settings)
