"""Engines and processes that are measured: the real commands with the settings of production, on cores of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from tests import databases
from tests.acceptance.system import AUDIENCE, COMMAND, ISSUER, SECRET, answers, run
from tests.benchmarks.consumption import listening_on
from tests.benchmarks.cores import Cores, Shares, move, working_on
from tests.waiting import eventually

from quizstream.contracts.topics import planned_topics, quarantine_topic
from quizstream.local import kafka, ports, postgres
from quizstream.local.processes import Engine, Program
from quizstream.runtime.kafka import TopicShape, ensure_topics
from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.worker.batch import TopicPartition
from quizstream.worker.migrate import migrate
from quizstream.worker.onlooker import onlooker

ROOT = Path(__file__).parents[2]
ORIGIN = "https://canvas.example.edu"
QUICK_SHARE = 0.4
_STARTED_WITHIN_SECONDS = 60.0
_MEMORY_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_POSTGRES_SETTINGS = {
    "shared_buffers": f"{min(_MEMORY_BYTES // 8, 2 * 2**30) // 2**20}MB",
    "max_wal_size": "4GB",  # or a checkpoint would fall into every second measurement
    "checkpoint_timeout": "30min",
}
_ENDED_WITHIN_SECONDS = 30.0
# On, and above what a student of the benchmark sends: what is measured is the check, not the refusal.
_REQUESTS_PER_MINUTE = "1000000"


@dataclass(frozen=True)
class Deployment:
    """A topic and a database that belong together, and the environment of the commands that work with them."""

    topic: str
    database_url: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Service:
    """A running process; `port` is where it serves, 0 where it does not."""

    name: str
    pid: int
    port: int


@dataclass(frozen=True)
class Scene:
    """Where the engines are, who works on which core, and how thoroughly to measure."""

    bootstrap_servers: str
    postgres_url: str
    shares: Shares
    directory: Path
    quick: bool

    @property
    def embedded_kafka(self) -> bool:
        """Whether Kafka is the one from the pip packages."""
        return "QUIZSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS" not in os.environ

    def seconds(self, thorough: float) -> float:
        """Give the length of a measurement: as named, or a part of it in a quick run."""
        return thorough * QUICK_SHARE if self.quick else thorough

    @property
    def kafka(self) -> list[int]:
        """The broker's process, where it can be seen."""
        return listening_on(int(self.bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")[2]))

    @property
    def postgresql(self) -> list[int]:
        """The server's first process, parent of the others, where it can be seen."""
        return listening_on(urlsplit(self.postgres_url).port or 5432)

    def move_engines(self, cores: Cores) -> None:
        """Let Kafka and PostgreSQL work on `cores` from now on."""
        for pid in (*self.kafka, *self.postgresql):
            move(pid, cores)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Give the URL of a new, migrated database; it is dropped at the end."""
        with databases.created(self.postgres_url) as name:
            url = databases.url_of(self.postgres_url, name)
            await migrate(url)
            yield url

    @asynccontextmanager
    async def deployment(self, *, partitions: int = 12) -> AsyncIterator[Deployment]:
        """Give a new database and new topics, made by `quizstream migrate`."""
        with databases.created(self.postgres_url) as name:
            url, topic = databases.url_of(self.postgres_url, name), databases.unique("bench")
            deployment = Deployment(topic, url, self._environment(topic, url, partitions))
            await run("migrate", environment=deployment.environment)
            try:
                yield deployment
            finally:
                await self.remove_topic(topic)

    async def topic(self, *, partitions: int = 12) -> str:
        """Make a new topic and its quarantine, as the product makes its own, and give its name."""
        name = databases.unique("bench")
        planned = planned_topics(name, partitions, allow_single_replica=True)
        await ensure_topics(KafkaAccess(self.bootstrap_servers), [TopicShape(*shape) for shape in planned])
        return name

    async def remove_topic(self, name: str) -> None:
        """Remove a topic and its quarantine, to give the disk back: a measurement writes hundreds of megabytes."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([name, quarantine_topic(name)])
        finally:
            await admin.close()

    async def records_in(self, topic: str, *, partitions: int = 12) -> int:
        """Count the records of a topic of which none was removed."""
        async with onlooker(KafkaAccess(self.bootstrap_servers)) as looking:
            bounds = await looking.bounds([TopicPartition(topic, number) for number in range(partitions)])
        return sum(end for _, end in bounds.values())

    @asynccontextmanager
    async def command(
        self, name: str, deployment: Deployment, cores: Cores, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[Service]:
        """Run `quizstream NAME` and wait until `/readyz` says so; it gets SIGTERM at the end."""
        port, admin_port = ports.any_free(), ports.any_free()
        own = {"QUIZSTREAM_PORT": str(port), "QUIZSTREAM_ADMIN_PORT": str(admin_port), **(settings or {})}
        ready = f"http://{ports.LOOPBACK}:{admin_port}/readyz"
        async with self.process(name, (str(COMMAND), name), cores, {**deployment.environment, **own}) as process:
            await self._until(process, ready, name)
            yield Service(name, process.pid, port)

    @asynccontextmanager
    async def module(self, name: str, arguments: Sequence[str], cores: Cores, port: int = 0) -> AsyncIterator[Service]:
        """Run `python -m NAME ARGUMENTS` (with `port`, wait until it listens there); it gets SIGTERM at the end."""
        async with self.process(name, (sys.executable, "-m", name, *arguments), cores) as process:
            if port:
                await self._until(process, port, name)
            yield Service(name, process.pid, port)

    @asynccontextmanager
    async def process(
        self, name: str, command: Sequence[str], cores: Cores, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a program on `cores`, its output in a file of the scene's directory; it dies with this process."""
        log = self.directory / f"{name}.log"
        program = Program(name=name, command=tuple(command), directory=ROOT, log=log)
        with log.open("ab") as output, working_on(cores):
            process = await asyncio.create_subprocess_exec(
                *program.arguments(),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)} if environment is None else environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            await _end(process)

    async def _until(self, process: asyncio.subprocess.Process, sign: str | int, name: str) -> None:
        """Wait for an address to answer 200, or for a port to be listened on."""

        async def ready() -> bool:
            if process.returncode is not None:
                log = self.directory / f"{name}.log"
                raise RuntimeError(f"{name} ended with {process.returncode}: {log.read_text('utf-8')[-2000:]}")
            return await asyncio.to_thread(answers, sign) if isinstance(sign, str) else not ports.is_free(sign)

        await eventually(ready, _STARTED_WITHIN_SECONDS)

    def _environment(self, topic: str, database_url: str, partitions: int) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUIZSTREAM_")},
            "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "QUIZSTREAM_DATABASE_URL": database_url,
            "QUIZSTREAM_TOPIC": topic,
            "QUIZSTREAM_PARTITIONS": str(partitions),
            "QUIZSTREAM_CONSUMER_GROUP": f"{topic}-worker",
            "QUIZSTREAM_ALLOW_SINGLE_REPLICA": "true",
            "QUIZSTREAM_JWT_SECRET": SECRET,
            "QUIZSTREAM_JWT_ISSUER": ISSUER,
            "QUIZSTREAM_JWT_AUDIENCE": AUDIENCE,
            "QUIZSTREAM_ALLOWED_ORIGINS": ORIGIN,
            "QUIZSTREAM_REQUESTS_PER_MINUTE_PER_TOKEN": _REQUESTS_PER_MINUTE,
            "QUIZSTREAM_REQUESTS_PER_MINUTE_PER_SUBMISSION": _REQUESTS_PER_MINUTE,
            "QUIZSTREAM_DRAIN_SECONDS": "0",
        }


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _ENDED_WITHIN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _give_room(server: Engine) -> None:
    """Set PostgreSQL up for tables of gigabytes, as its documentation advises (sections 19.4 and 28.5)."""
    session = await asyncpg.connect(server.address)
    for name, value in _POSTGRES_SETTINGS.items():
        await session.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await session.close()
    await server.stop()
    await server.start()


@asynccontextmanager
async def open_scene(directory: Path, shares: Shares, *, quick: bool) -> AsyncIterator[Scene]:
    """Start Kafka and PostgreSQL, where QUIZSTREAM_TEST_* names none, and put them on their cores."""
    bootstrap_servers = os.environ.get("QUIZSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS")
    url = os.environ.get("QUIZSTREAM_TEST_DATABASE_URL")
    logs = directory / "logs"
    async with AsyncExitStack() as stack:
        # Never the default ports: those are for whoever works on this machine meanwhile.
        if not bootstrap_servers:
            broker = kafka.running(directory / "kafka", logs, ports.any_free())
            bootstrap_servers = await stack.enter_async_context(broker)
        if not url:
            server = await stack.enter_async_context(postgres.server(directory / "postgres", logs, ports.any_free()))
            await _give_room(server)
            url = server.address
        scene = Scene(bootstrap_servers, url, shares, directory, quick)
        scene.move_engines(shares.engines)
        yield scene
