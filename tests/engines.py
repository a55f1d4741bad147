"""Which Kafka and PostgreSQL the suite runs on, and how they are started: at most once per run, when first needed.

1. QUIZSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS and QUIZSTREAM_TEST_DATABASE_URL name running servers (each by itself).
2. QUIZSTREAM_TEST_ENGINES=containers: testcontainers; what fails there fails the tests.
3. QUIZSTREAM_TEST_ENGINES=embedded: from pip packages, as `quizstream dev` does.
4. QUIZSTREAM_TEST_ENGINES=auto, the default: containers where Docker answers and has or gets the images, else embedded.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests import background

from quizstream.local import kafka, ports, postgres
from quizstream.local.jars import KAFKA_VERSION
from quizstream.local.packages import JAVA, POSTGRES_BINARIES

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = "postgres:18"
_RYUK_IMAGE = "testcontainers/ryuk:0.8.1"
_DOCKER_SECONDS = 10
_KAFKA_STARTS_WITHIN_SECONDS = 120

Kind = Literal["containers", "embedded"]


class Choice:
    """What was chosen and why; the run's header and summary tell it."""

    def __init__(self) -> None:
        self.bootstrap_servers = os.environ.get("QUIZSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS")
        self.database_url = os.environ.get("QUIZSTREAM_TEST_DATABASE_URL")
        self.asked = os.environ.get("QUIZSTREAM_TEST_ENGINES", "auto")
        if self.asked not in {"auto", "containers", "embedded"}:
            raise ValueError("QUIZSTREAM_TEST_ENGINES is one of: auto, containers, embedded")
        self.kind: Kind = "containers" if self.asked == "containers" else "embedded"
        self.reason = "asked for"
        self._to_pull: list[str] = []
        if self.asked == "auto":
            self._look()

    def settle(self) -> Kind:
        """Pull what is missing, now that engines are needed; fall back to the embedded ones where that fails."""
        if self._to_pull and not all(_docker("pull", "--quiet", image, seconds=600) for image in self._to_pull):
            self.kind, self.reason = "embedded", "Docker answers, but cannot pull the images"
        self._to_pull = []
        return self.kind

    def describe(self) -> list[str]:
        """Lines that say which engines and versions the suite runs on."""
        return [
            "kafka: " + (f"running at {self.bootstrap_servers}" if self.bootstrap_servers else self._describe_kafka()),
            "postgresql: " + ("running server of the settings" if self.database_url else self._describe_postgres()),
        ]

    def _look(self) -> None:
        missing = _missing_images()
        if missing is None:
            self.reason = "no Docker answers"
            return
        if Path("/.dockerenv").exists() and "TESTCONTAINERS_HOST_OVERRIDE" not in os.environ:
            self.reason = "inside a container, and nothing (TESTCONTAINERS_HOST_OVERRIDE) says where Docker publishes"
            return
        self.kind, self._to_pull = "containers", missing
        self.reason = "Docker answers, images to be pulled when needed" if missing else "Docker has the images"

    def _describe_kafka(self) -> str:
        if self.kind == "containers":
            return f"container {KAFKA_IMAGE} ({self.reason})"
        release = (JAVA.parent.parent / "release").read_text("utf-8")
        java = next(line.split('"')[1] for line in release.splitlines() if line.startswith("JAVA_VERSION="))
        return f"embedded {KAFKA_VERSION} on Java {java} ({self.reason})"

    def _describe_postgres(self) -> str:
        if self.kind == "containers":
            return f"container {POSTGRES_IMAGE} ({self.reason})"
        asked = subprocess.run(
            [POSTGRES_BINARIES / "postgres", "--version"], capture_output=True, check=True, text=True
        )
        return f"embedded {asked.stdout.split()[-1]} ({self.reason})"


@contextmanager
def kafka_server(choice: Choice, directory: Path) -> Iterator[str]:
    """Give the bootstrap servers of the chosen Kafka."""
    if choice.bootstrap_servers:
        yield choice.bootstrap_servers
    elif choice.settle() == "containers":
        with _kafka_container() as bootstrap_servers:
            yield bootstrap_servers
    else:
        # Never the default port: that one is for whoever works on this machine meanwhile.
        with background.held_open(kafka.running(directory / "kafka", directory / "logs", ports.any_free())) as address:
            yield address


@contextmanager
def postgres_server(choice: Choice, directory: Path) -> Iterator[str]:
    """Give the URL of the chosen PostgreSQL, for an account that may create databases."""
    if choice.database_url:
        yield choice.database_url
    elif choice.settle() == "containers":
        with _postgres_container() as url:
            yield url
    else:
        with background.held_open(
            postgres.running(directory / "postgres", directory / "logs", ports.any_free())
        ) as url:
            yield url


@contextmanager
def _kafka_container() -> Iterator[str]:
    _without_reaper_where_it_cannot_be_had()
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - reads its settings when imported
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415 - as above

    port = ports.any_free()  # chosen before the start: the broker tells it to its clients
    # As root: an image built from read-only files has a configuration that its own account cannot write.
    container = DockerContainer(KAFKA_IMAGE, user="root").with_bind_ports(9092, port)
    bootstrap_servers = f"{container.get_container_host_ip()}:{port}"
    for name, value in _broker_settings(bootstrap_servers).items():
        container.with_env(f"KAFKA_{name.replace('.', '_').upper()}", value)
    ready = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_KAFKA_STARTS_WITHIN_SECONDS)
    with container.waiting_for(ready):
        yield bootstrap_servers


def _broker_settings(advertised: str) -> dict[str, str]:
    return {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLERS",
        "listeners": "CLIENTS://:9092,CONTROLLERS://:9093",
        "advertised.listeners": f"CLIENTS://{advertised}",
        "inter.broker.listener.name": "CLIENTS",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLERS:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(kafka.MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(kafka.MAX_MESSAGE_BYTES),
        "socket.request.max.bytes": str(4 * kafka.MAX_MESSAGE_BYTES),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
    }


@contextmanager
def _postgres_container() -> Iterator[str]:
    _without_reaper_where_it_cannot_be_had()
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - as above

    container = PostgresContainer(POSTGRES_IMAGE, driver=None).with_command("postgres -c max_connections=200")
    with container as server:
        yield server.get_connection_url()


def _docker(*arguments: str, seconds: float = _DOCKER_SECONDS) -> bool:
    try:
        asked = subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=seconds)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _missing_images() -> list[str] | None:
    """Tell which images Docker lacks; None where no Docker answers."""
    if not _docker("version"):
        return None
    return [image for image in (KAFKA_IMAGE, POSTGRES_IMAGE) if not _docker("image", "inspect", image)]


def _without_reaper_where_it_cannot_be_had() -> None:
    """The library starts a container of its own that removes ours should the run be killed; read at its import."""
    if "TESTCONTAINERS_RYUK_DISABLED" in os.environ:
        return
    image = os.environ.get("RYUK_CONTAINER_IMAGE", _RYUK_IMAGE)
    if not _docker("image", "inspect", image) and not _docker("pull", "--quiet", image, seconds=60):
        os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
