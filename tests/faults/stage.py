"""Engines and links for scenarios: started once per run of the suite, healed before each scenario."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
from tests.faults.links import Link

from quizstream.local import kafka, ports, postgres
from quizstream.local.processes import Engine

_LISTENERS = ("GATEWAY", "WORKER")
_RESTARTED_WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """Real engines. Each process reaches them by a link of its own, except where there are several brokers."""

    brokers: Sequence[Engine]
    postgres: Engine
    links: Mapping[str, Link]
    data: Path

    @property
    def kafka(self) -> Engine:
        """The broker, where there is one."""
        return self.brokers[0]

    @property
    def bootstrap_servers(self) -> str:
        """Where the test itself, and whatever has no link of its own, finds the brokers."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def replicated(self) -> bool:
        """Whether there are three brokers."""
        return len(self.brokers) > 1

    def bootstrap_servers_for(self, name: str) -> str:
        """Where a process finds the brokers."""
        link = self.links.get(f"{name}-kafka")
        return link.address if link else self.bootstrap_servers

    def database_url_for(self, name: str, database: str) -> str:
        """Where a process finds the store; the test itself has no link."""
        url = urlsplit(self.postgres.address)._replace(path=f"/{database}")
        link = self.links.get(f"{name}-postgres")
        if link:
            url = url._replace(netloc=url.netloc.rpartition(":")[0] + f":{link.port}")
        return urlunsplit(url)

    @property
    def engines(self) -> Sequence[Engine]:
        return (*self.brokers, self.postgres)

    def dead_hops(self, name: str) -> set[str]:
        """The hops, by their names in `/readyz`, that a process cannot reach now: those of which one can be sure."""
        dead = set()
        if all(_is_stopped(broker) for broker in self.brokers) or self._is_cut(f"{name}-kafka"):
            dead.add("kafka")
        if not self.postgres.is_running or self._is_cut(f"{name}-postgres"):
            dead.add("postgresql")
        return dead

    def _is_cut(self, name: str) -> bool:
        link = self.links.get(name)
        return link is not None and link.is_dead

    async def heal(self) -> None:
        """End all faults: links, paused engines, dead engines."""
        for link in self.links.values():
            link.heal()
        for engine in self.engines:
            engine.resume()
        dead = [engine for engine in self.engines if not engine.is_running]
        await asyncio.gather(*(engine.start(_RESTARTED_WITHIN_SECONDS) for engine in dead))


def _is_stopped(engine: Engine) -> bool:
    if not engine.is_running:
        return True
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(engine.pid).status() == psutil.STATUS_STOPPED)
    return True


@asynccontextmanager
async def single(directory: Path) -> AsyncIterator[Stage]:
    """One broker and one server; gateway and worker have links to the broker, worker and reader to the server."""
    logs = directory / "logs"
    async with AsyncExitStack() as stack:
        broker, server = await asyncio.gather(
            stack.enter_async_context(kafka.broker(directory / "kafka", logs, ports.any_free())),
            stack.enter_async_context(postgres.server(directory / "postgres", logs, ports.any_free())),
        )
        links = {
            f"{name.lower()}-kafka": await stack.enter_async_context(Link(ports.any_free()).opened())
            for name in _LISTENERS
        }
        for name in ("worker", "reader"):
            port = urlsplit(server.address).port
            assert port is not None
            links[f"{name}-postgres"] = await stack.enter_async_context(Link(port).opened())
        await broker.stop()
        _add_listeners(directory / "kafka" / "server.properties", links)
        await broker.start()
        yield Stage((broker,), server, links, directory)


def _add_listeners(properties: Path, links: Mapping[str, Link]) -> None:
    """Let the broker listen once more for each link, and tell clients that come by it to stay on it."""
    text = properties.read_text("utf-8")
    for name in _LISTENERS:
        link = links[f"{name.lower()}-kafka"]
        for setting, listener in (
            ("listeners", f"{name}://{ports.LOOPBACK}:{link.target_port}"),
            ("advertised.listeners", f"{name}://{link.address}"),
            ("listener.security.protocol.map", f"{name}:PLAINTEXT"),
        ):
            text = re.sub(rf"^({re.escape(setting)}=.*)$", rf"\1,{listener}", text, count=1, flags=re.MULTILINE)
    properties.write_text(text, "utf-8")


@asynccontextmanager
async def replicated(directory: Path) -> AsyncIterator[Stage]:
    """Three brokers, so that topics have three replicas of which two must have a record, and one server."""
    logs = directory / "logs"
    nodes = [kafka.Node(number, ports.any_free(), ports.any_free()) for number in (1, 2, 3)]
    cluster_id = kafka.new_cluster_id()
    async with AsyncExitStack() as stack:
        *brokers, server = await asyncio.gather(
            *(
                stack.enter_async_context(
                    kafka.member(
                        node,
                        nodes,
                        directory / f"kafka-{node.node_id}",
                        logs / str(node.node_id),
                        cluster_id=cluster_id,
                    )
                )
                for node in nodes
            ),
            stack.enter_async_context(postgres.server(directory / "postgres", logs, ports.any_free())),
        )
        yield Stage(brokers, server, {}, directory)
        # In order, the last one would wait in vain for somebody to hand its partitions over to.
        await asyncio.gather(*(broker.kill() for broker in brokers))
