"""The product's processes, which scenarios kill, stop and start again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from tests.acceptance.system import AUDIENCE, COMMAND, ISSUER, SECRET, Command
from tests.faults import bounds
from tests.faults.stage import Stage
from tests.waiting import eventually, scaled

from quizstream.local import ports
from quizstream.local.processes import Program
from quizstream.worker.prepare import PrepareSettings, prepare

STARTED_WITHIN_SECONDS = 60.0


@dataclass
class Service(Command):
    """A command that may be told to crash at a point, and is expected to be alive unless a scenario ended it."""

    expected: bool = False
    paused: bool = False
    generation: int = 0
    kills: int = 0  # after which it was started again
    touched_at: float = 0.0  # when somebody last started, stopped or ended it

    @property
    def label(self) -> str:
        """What tells it from others of its kind."""
        return self.log.stem

    def configure(self, **settings: str) -> None:
        """Give it other settings from its next start on, by their names in the environment."""
        self.environment = {**self.environment, **settings}

    def untouched_since(self, began: float) -> bool:
        """Whether nobody has started, stopped or ended it since that time of the monotonic clock."""
        return self.expected and not self.paused and self.touched_at < began

    @property
    def memory_bound_bytes(self) -> int:
        """Most that it may have resident."""
        return bounds.memory_bound_bytes(self.name, self.environment)

    async def spawn(self, crash_at: str = "") -> None:
        """Start it, ready or not."""
        if self.process is not None and self.process.returncode == -signal.SIGKILL:
            self.kills += 1
        self.generation += 1
        self.touched_at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._arguments(),
                env={**self.environment, "QUIZSTREAM_CRASH_AT": crash_at},
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
            )
        self.expected = not crash_at

    def _arguments(self) -> Sequence[str]:
        """The command, tied to this process: it dies with it, whatever happens."""
        command = (str(COMMAND), self.name)
        return Program(name=self.name, command=command, directory=self.log.parent, log=self.log).arguments()

    async def start(self, crash_at: str = "") -> None:
        """Start it and wait until it is ready."""
        await self.spawn(crash_at)
        await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until it can deliver."""
        await eventually(self.is_ready, STARTED_WITHIN_SECONDS)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def pause(self) -> None:
        """SIGSTOP: a zombie, as far as the others can tell."""
        self.expected, self.paused = False, True
        self.touched_at = time.monotonic()
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it does not know that time has passed."""
        if self.paused:
            self.touched_at = time.monotonic()
        self.paused = False
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    async def crashed(self) -> None:
        """Wait until it has ended by itself, at its crash point."""

        async def ended() -> bool:
            return not self.is_running

        await eventually(ended, 30)
        assert self.process is not None
        assert self.process.returncode == -signal.SIGKILL, self.log.read_text()[-2000:]
        self.touched_at = time.monotonic()

    def descriptors(self) -> int:
        """How many it has open, but for the connections of whoever asks it something.

        Raises:
            psutil.Error: it has just ended.

        """
        return int(psutil.Process(self.pid).num_fds()) - self.clients()

    def clients(self) -> int:
        """How many connections to its ports it has open."""
        ours = {urlsplit(url).port for url in (self.url, self.admin_url)}
        connections = psutil.Process(self.pid).net_connections("tcp")
        return sum(one.status != psutil.CONN_LISTEN and one.laddr.port in ours for one in connections)

    async def kill(self) -> None:
        self.expected = False
        self.touched_at = time.monotonic()
        await super().kill()

    async def terminate(self) -> int:
        self.expected = False
        self.touched_at = time.monotonic()
        self.resume()
        return await super().terminate()


@dataclass
class Deployment:
    """Gateways, reader and workers between the engines of a stage, with a topic and a database of their own."""

    stage: Stage
    topic: str
    database: str
    logs: Path
    settings: Mapping[str, str]
    partitions: int = 6

    def __post_init__(self) -> None:
        self.gateways = [self._service("gateway", "gateway")]
        self.reader = self._service("reader", "reader")
        self.workers: list[Service] = []
        self.add_worker()

    @property
    def services(self) -> list[Service]:
        return [*self.gateways, *self.workers, self.reader]

    @property
    def gateway(self) -> Service:
        return self.gateways[0]

    @property
    def worker(self) -> Service:
        return self.workers[0]

    @property
    def database_url(self) -> str:
        """Where the test itself finds the store, past all links."""
        return self.stage.database_url_for("test", self.database)

    def add_worker(self) -> Service:
        """One more member of the group, not yet started."""
        service = self._service("worker", f"worker-{len(self.workers) + 1}")
        self.workers.append(service)
        return service

    def add_gateway(self) -> Service:
        """One more gateway behind the same proxy, not yet started."""
        service = self._service("gateway", f"gateway-{len(self.gateways) + 1}")
        self.gateways.append(service)
        return service

    async def run(self, *arguments: str, crash_at: str = "") -> int:
        """Run a command of an operator to its end, past all links; gives its exit status."""
        with (self.logs / "operator.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                COMMAND,
                *arguments,
                env={**self._environment("test"), "QUIZSTREAM_CRASH_AT": crash_at},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            return await asyncio.wait_for(process.wait(), scaled(60))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def prepare(self) -> None:
        """Migrate the store and make the topics, past all links: as the command does, without the second it takes."""
        environment = self._environment("test")
        names = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TOPIC", "PARTITIONS", "ALLOW_SINGLE_REPLICA")
        given = {name.lower(): environment[f"QUIZSTREAM_{name}"] for name in names}
        await prepare(PrepareSettings.model_validate(given))

    async def end(self) -> None:
        """End every process, by force: whoever tests an orderly end does it before."""
        await asyncio.gather(*(service.kill() for service in self.services))

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUIZSTREAM_")},
            "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.stage.bootstrap_servers_for(name),
            "QUIZSTREAM_DATABASE_URL": self.stage.database_url_for(name, self.database),
            "QUIZSTREAM_TOPIC": self.topic,
            "QUIZSTREAM_PARTITIONS": str(self.partitions),
            "QUIZSTREAM_CONSUMER_GROUP": f"{self.topic}-worker",
            "QUIZSTREAM_ALLOW_SINGLE_REPLICA": str(not self.stage.replicated).lower(),
            "QUIZSTREAM_JWT_SECRET": SECRET,
            "QUIZSTREAM_JWT_ISSUER": ISSUER,
            "QUIZSTREAM_JWT_AUDIENCE": AUDIENCE,
            "QUIZSTREAM_DRAIN_SECONDS": "0",
            **bounds.SETTINGS,
            **self.settings,
        }

    def _service(self, command: str, name: str) -> Service:
        port, admin_port = ports.any_free(), ports.any_free()
        own = {"QUIZSTREAM_PORT": str(port), "QUIZSTREAM_ADMIN_PORT": str(admin_port)}
        return Service(
            command,
            {**self._environment(command), **own},
            f"http://{ports.LOOPBACK}:{port}",
            f"http://{ports.LOOPBACK}:{admin_port}",
            self.logs / f"{name}.log",
        )


@asynccontextmanager
async def deployed(deployment: Deployment) -> AsyncIterator[Deployment]:
    """Prepare store and topics; end every process afterwards, whatever happened."""
    await deployment.prepare()
    try:
        yield deployment
    finally:
        await deployment.end()
