"""A real Kafka broker (KRaft, no ZooKeeper) on the Java runtime that pip installed."""

import asyncio
import base64
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quizstream.local import jars, locks, ports
from quizstream.local.directories import private
from quizstream.local.packages import JAVA
from quizstream.local.processes import Engine, Program, clear_left_over, run_tool, started

DEFAULT_PORT = 9092
MAX_MESSAGE_BYTES = 20 * 1024 * 1024  # of one record: a body of 16 MiB as one event, its envelope and headers
_HEAP_MEGABYTES = 512
# The first compiler only: ready in 2.0 s instead of 2.8 s and for 2.7 s of CPU instead of 4.9 s (medians of 3).
QUICK_START = ("-XX:TieredStopAtLevel=1",)
_STARTED = b"Kafka Server started"
_LOGGING = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


@dataclass(frozen=True, slots=True)
class Node:
    """One broker that is a controller too, and where it listens on the loopback address."""

    node_id: int
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        """What clients are told to connect to."""
        return f"{ports.LOOPBACK}:{self.port}"


def new_cluster_id() -> str:
    """Return an id in Kafka's form; all nodes of a cluster are given the same."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii")
    return text.replace("-", "A", 1) if text.startswith("-") else text  # a dash would look like an option


def server_properties(node: Node, quorum: Sequence[Node], log_directory: Path) -> str:
    """Return the configuration of `node` in a cluster of `quorum`.

    Topics of the cluster itself are kept on three brokers where there are three.
    """
    replicas = min(3, len(quorum))
    voters = ",".join(f"{voter.node_id}@{ports.LOOPBACK}:{voter.controller_port}" for voter in quorum)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.node_id,
        "controller.quorum.voters": voters,
        "listeners": f"CLIENTS://{node.address},CONTROLLERS://{ports.LOOPBACK}:{node.controller_port}",
        "advertised.listeners": f"CLIENTS://{node.address}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLERS:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLERS",
        "log.dirs": log_directory,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": max(1, replicas - 1),
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.response.max.bytes": 2 * MAX_MESSAGE_BYTES,
        "socket.request.max.bytes": 4 * MAX_MESSAGE_BYTES,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,  # of 50: made when the first consumer joins, which waits for it
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": max(1, replicas - 1),
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": max(1, replicas - 1),
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker cannot register again before its old session has ended: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # of 128 MiB: it is a quarter of the heap
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


@asynccontextmanager
async def running(
    data: Path, logs: Path, port: int | None = None, *, say: jars.Say | None = None
) -> AsyncIterator[str]:
    """Run one broker on `data` and yield its bootstrap servers; without `port` 9092, or another when it is taken."""
    async with broker(data, logs, port, say=say) as engine:
        yield engine.address


@asynccontextmanager
async def broker(
    data: Path, logs: Path, port: int | None = None, *, cache: Path | None = None, say: jars.Say | None = None
) -> AsyncIterator[Engine]:
    """As `running`, but yield the handle, which can pause, kill and start it again."""
    async with _opened(data, logs, 1, new_cluster_id(), cache, say) as home:

        def make() -> Engine:
            node = Node(1, ports.choose(DEFAULT_PORT) if port is None else port, ports.any_free())
            return home.engine(node, [node], QUICK_START)

        async with _stopped_at_end(await started(make)) as engine:
            yield engine


@asynccontextmanager
async def member(
    node: Node,
    quorum: Sequence[Node],
    data: Path,
    logs: Path,
    *,
    cluster_id: str,
    java_options: Sequence[str] = QUICK_START,
) -> AsyncIterator[Engine]:
    """Run one node of a cluster of several; it is ready when a majority is, so start them side by side.

    `cluster_id` is the same for all nodes, and needed only where `data` is new.
    """
    async with _opened(data, logs, node.node_id, cluster_id) as home:
        engine = home.engine(node, quorum, java_options)
        await engine.start()
        async with _stopped_at_end(engine):
            yield engine


@asynccontextmanager
async def _stopped_at_end(engine: Engine) -> AsyncIterator[Engine]:
    try:
        yield engine
    finally:
        await engine.stop()


@dataclass(frozen=True, slots=True)
class _Home:
    """A node's directories, held by us, with its storage formatted."""

    data: Path
    logs: Path
    class_path: str

    @property
    def properties(self) -> Path:
        return self.data / "server.properties"

    def engine(self, node: Node, quorum: Sequence[Node], java_options: Sequence[str]) -> Engine:
        """Write the node's configuration and return what runs it."""
        self.properties.write_text(server_properties(node, quorum, self.data / "log"), "utf-8")
        listens = (node.port, node.controller_port)
        program = self.program("Kafka", [*java_options, f"-Xmx{_HEAP_MEGABYTES}m"], ["kafka.Kafka", self.properties])
        return Engine(node.address, replace(program, ports=listens), _has_started)

    def program(self, name: str, java_options: Sequence[str], main: Sequence[str | Path]) -> Program:
        options = (
            *java_options,
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.data / 'log4j2.properties'}",
            f"-XX:ErrorFile={self.logs / 'kafka-crash.log'}",
        )
        command = (str(JAVA), *options, "-cp", self.class_path, *(str(part) for part in main))
        return Program(name=name, command=command, directory=self.data, log=self.logs / "kafka.log")


async def _has_started(logged: bytes) -> bool:
    return _STARTED in logged


@asynccontextmanager
async def _opened(
    data: Path, logs: Path, node_id: int, cluster_id: str, cache: Path | None = None, say: jars.Say | None = None
) -> AsyncIterator[_Home]:
    data, logs = private(data), private(logs)
    async with locks.exclusive(data):
        class_path = await jars.class_path(cache, say=say)
        home = _Home(data, logs, ":".join(str(path) for path in class_path))
        (data / "log4j2.properties").write_text(_LOGGING, "utf-8")
        await asyncio.to_thread(clear_left_over, home.program("Kafka", (), ()))
        if not (data / "log").exists():
            await _format(home, node_id, cluster_id)
        yield home


async def _format(home: _Home, node_id: int, cluster_id: str) -> None:
    """Make a new node's storage: wholly, or not at all when we are killed."""
    unfinished = home.data / "log.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    anywhere = Node(node_id, DEFAULT_PORT, DEFAULT_PORT + 1)  # the storage keeps the node's id, and no address
    home.properties.write_text(server_properties(anywhere, [anywhere], unfinished), "utf-8")
    arguments = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", home.properties)
    await run_tool(home.program("Formatting Kafka's storage", QUICK_START, arguments))
    unfinished.rename(home.data / "log")
