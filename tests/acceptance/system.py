"""The real commands as processes, between real engines."""

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually, scaled

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE
from quizstream.local import ports
from quizstream.runtime.access import issue_token

SECRET = "a secret of the acceptance tests, which is long enough"
ISSUER = "https://canvas.example.edu"
AUDIENCE = "quizstream"
COMMAND = Path(sys.executable).with_name("quizstream")


def path_of(submission: int, *, course: int = 1, quiz: int = 2) -> str:
    return f"/api/v1/courses/{course}/quizzes/{quiz}/submissions/{submission}/events"


def token(*scopes: str, **claims: object) -> str:
    """A token as a learning platform would issue it; both scopes where none is named."""
    scope = " ".join(scopes or (POST_SCOPE, GET_SCOPE))
    return issue_token(SECRET, {"sub": "tester", "scope": scope, "iss": ISSUER, "aud": AUDIENCE, **claims}, 3600)


@dataclass
class Command:
    """One running `quizstream` command and where it answers."""

    name: str
    environment: Mapping[str, str]
    url: str
    admin_url: str
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                COMMAND, self.name, env=self.environment, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )
        await eventually(self.is_ready, 30)

    async def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        return await asyncio.to_thread(answers, f"{self.admin_url}/readyz")

    async def kill(self) -> None:
        """SIGKILL: nothing of it gets to clean up."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, as an orchestrator stops it; gives the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        process = self.process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        try:
            return await asyncio.wait_for(process.wait(), scaled(30))
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@dataclass
class System:
    """Gateway, worker and reader of one deployment; POST and GET have different addresses, as behind a proxy."""

    gateway: Command
    worker: Command
    reader: Command
    bootstrap_servers: str
    topic: str

    @property
    def commands(self) -> Sequence[Command]:
        return (self.gateway, self.worker, self.reader)


@asynccontextmanager
async def running(
    bootstrap_servers: str,
    database_url: str,
    topic: str,
    logs: Path,
    settings: Mapping[str, str] | None = None,
    *,
    own_settings: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[System]:
    """Prepare store and topics with `quizstream migrate`, start the three processes, and stop them at the end.

    `own_settings` are those of one process, by its name.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUIZSTREAM_")},
        "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "QUIZSTREAM_DATABASE_URL": database_url,
        "QUIZSTREAM_TOPIC": topic,
        "QUIZSTREAM_CONSUMER_GROUP": f"{topic}-worker",
        "QUIZSTREAM_ALLOW_SINGLE_REPLICA": "true",
        "QUIZSTREAM_JWT_SECRET": SECRET,
        "QUIZSTREAM_DRAIN_SECONDS": "0",
        **(settings or {}),
    }
    await run("migrate", environment=environment)
    async with AsyncExitStack() as stack:
        gateway, worker, reader = (
            _command(name, {**environment, **(own_settings or {}).get(name, {})}, logs)
            for name in ("gateway", "worker", "reader")
        )
        system = System(gateway, worker, reader, bootstrap_servers, topic)
        for command in system.commands:
            stack.push_async_callback(command.terminate)
        await asyncio.gather(*(command.start() for command in system.commands))
        yield system


def _command(name: str, environment: Mapping[str, str], logs: Path) -> Command:
    port, admin_port = ports.any_free(), ports.any_free()
    own = {"QUIZSTREAM_PORT": str(port), "QUIZSTREAM_ADMIN_PORT": str(admin_port)}
    return Command(
        name,
        {**environment, **own},
        f"http://127.0.0.1:{port}",
        f"http://127.0.0.1:{admin_port}",
        logs / f"{name}.log",
    )


async def run(*arguments: str, environment: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run a command to its end; gives what it printed."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), scaled(60))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == status, printed.decode()
    return printed.decode()
