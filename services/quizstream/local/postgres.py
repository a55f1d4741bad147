"""A real PostgreSQL 18 from the binaries that pip installed, on a TCP port of the loopback address."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from quizstream.local import locks, ports
from quizstream.local.directories import private
from quizstream.local.errors import EngineStartError
from quizstream.local.packages import POSTGRES_BINARIES
from quizstream.local.processes import Account, Engine, Program, Ready, clear_left_over, run_tool, started

DEFAULT_PORT = 5432
USER = "quizstream"
DATABASE = "quizstream"
_ANSWER_AFTER_SECONDS = 5.0
_SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A server's log quotes the statement and the row it refused: a student's answer. Not ours.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@asynccontextmanager
async def running(data: Path, logs: Path, port: int | None = None) -> AsyncIterator[str]:
    """Run a server on `data` and yield its URL; without `port` 5432, or another when it is taken."""
    async with server(data, logs, port) as engine:
        yield engine.address


@asynccontextmanager
async def server(data: Path, logs: Path, port: int | None = None) -> AsyncIterator[Engine]:
    """As `running`, but yield the handle, which can pause, kill and start it again.

    The user is a superuser with a random password, kept beside the cluster for its owner only. A root process runs the
    server, which refuses root, as the account that owns the cluster, `nobody` for a new one.
    """
    data, logs = private(data), private(logs)
    async with locks.exclusive(data):
        home = _Home(data, logs, _account(data / "cluster"))
        await asyncio.to_thread(clear_left_over, home.program("postgres"))
        if not home.cluster.exists():
            await _initialise(home)
        engine = await started(lambda: home.engine(ports.choose(DEFAULT_PORT) if port is None else port))
        try:
            await _ensure_database(engine.address)
            yield engine
        finally:
            await engine.stop()


def _account(cluster: Path) -> Account | None:
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return Account(cluster.stat().st_uid, cluster.stat().st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EngineStartError("PostgreSQL refuses root, and there is no account `nobody` to run it as") from None
    return Account(nobody.pw_uid, nobody.pw_gid)


@dataclass(frozen=True, slots=True)
class _Home:
    """A server's directories, held by us, and the account that may work in them."""

    data: Path
    logs: Path
    account: Account | None

    @property
    def cluster(self) -> Path:
        return self.data / "cluster"

    @property
    def password(self) -> Path:
        return self.data / "password"

    def engine(self, port: int) -> Engine:
        password = self.password.read_text("ascii").strip()
        address = f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{port}/{DATABASE}"
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
        program = self.program("postgres", "-D", str(self.cluster), *settings)
        pid_file = self.cluster / "postmaster.pid"
        return Engine(address, replace(program, ports=(port,), remains=(pid_file,)), _answers(address))

    def program(self, tool: str, *arguments: str) -> Program:
        return Program(
            name="PostgreSQL",
            command=(str(POSTGRES_BINARIES / tool), *arguments),
            directory=self.cluster if self.cluster.exists() else self.data,
            log=self.logs / "postgres.log",
            stop_signal=signal.SIGINT,  # SIGTERM would wait for the clients to leave
            death_signal=signal.SIGQUIT,  # as quick as SIGKILL, and the server takes its own processes along
            account=self.account,
        )


async def _initialise(home: _Home) -> None:
    """Make a new cluster and its password: wholly, or not at all when we are killed."""
    unfinished = home.data / "cluster.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if home.account is not None:
        os.chown(unfinished, home.account.user_id, home.account.group_id)
    _write_password(home.password)
    arguments = (
        f"--pgdata={unfinished}",
        f"--username={USER}",
        f"--pwfile={home.password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    )
    await run_tool(home.program("initdb", *arguments))
    unfinished.rename(home.cluster)


def _write_password(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(24) + "\n", "ascii")


def _answers(address: str) -> Ready:
    async def answers(_logged: bytes) -> bool:
        try:
            connection = await _connect(address)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        await connection.close()
        return True

    return answers


async def _connect(address: str) -> "asyncpg.Connection[asyncpg.Record]":  # only a stub knows the brackets
    """Connect to the database that every cluster has."""
    return await asyncpg.connect(address, database="postgres", timeout=_ANSWER_AFTER_SECONDS)


async def _ensure_database(address: str) -> None:
    connection = await _connect(address)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
