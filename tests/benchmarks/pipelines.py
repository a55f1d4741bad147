"""Whole roads from POST to row: the product's, and that of the obvious version."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
from tests import databases
from tests.benchmarks.consumption import Processes
from tests.benchmarks.measurement import UNDER_TEST
from tests.benchmarks.scene import Deployment, Scene, Service
from tests.waiting import eventually

from quizstream.local import ports


@dataclass(frozen=True)
class Pipeline:
    """Processes between the same engines; `reader_port` is 0 where there is no reader."""

    scene: Scene
    topic: str
    partitions: int
    gateways: list[Service]
    workers: list[Service]
    readers: list[Service]
    session: "asyncpg.Connection[asyncpg.Record]"
    table: str

    @property
    def watched(self) -> Processes:
        """Every process by what it is; gateways and workers together are what is under test."""
        pids = {
            "gateway": [one.pid for one in self.gateways],
            "worker": [one.pid for one in self.workers],
            "reader": [one.pid for one in self.readers],
        }
        engines = {"kafka": self.scene.kafka, "postgresql": self.scene.postgresql}
        return {UNDER_TEST: [*pids["gateway"], *pids["worker"]], **{k: v for k, v in {**pids, **engines}.items() if v}}

    async def rows(self) -> int:
        """Count what is readable."""
        found: int = await self.session.fetchval(f"SELECT count(*) FROM {self.table}")
        return found

    async def lag(self) -> int:
        """Give how many records are in the topic and not in the table."""
        return await self.scene.records_in(self.topic, partitions=self.partitions) - await self.rows()


@asynccontextmanager
async def product(
    scene: Scene, *, gateways: int = 1, workers: int = 1, partitions: int = 12
) -> AsyncIterator[Pipeline]:
    """Start gateways, workers and a reader on all cores, with a topic and a database of their own."""
    async with AsyncExitStack() as stack:
        deployment = await stack.enter_async_context(scene.deployment(partitions=partitions))
        start = partial(_start, stack, scene, deployment)
        yield Pipeline(
            scene,
            deployment.topic,
            partitions,
            [await start("gateway") for _ in range(gateways)],
            [await start("worker") for _ in range(workers)],
            [await start("reader")],
            await _session(stack, deployment.database_url),
            "quiz_submission_events",
        )


async def _start(stack: AsyncExitStack, scene: Scene, deployment: Deployment, name: str) -> Service:
    return await stack.enter_async_context(scene.command(name, deployment, scene.shares.everything))


async def _session(stack: AsyncExitStack, url: str) -> "asyncpg.Connection[asyncpg.Record]":
    session = await asyncpg.connect(url)
    stack.push_async_callback(session.close)
    return session


@asynccontextmanager
async def obvious(scene: Scene, mode: str) -> AsyncIterator[Pipeline]:
    """Start the obvious version; `mode` is `insert` (one for each message) or `executemany`."""
    port, cores = ports.any_free(), scene.shares.everything
    async with AsyncExitStack() as stack:
        topic = await scene.topic()
        stack.push_async_callback(scene.remove_topic, topic)
        url = databases.url_of(scene.postgres_url, stack.enter_context(databases.created(scene.postgres_url)))
        session = await _session(stack, url)
        arguments = [str(port), scene.bootstrap_servers, topic]
        gateway = scene.module("tests.benchmarks.obvious.gateway", arguments, cores, port)
        worker = scene.module("tests.benchmarks.obvious.worker", [mode, scene.bootstrap_servers, topic, url], cores)
        services = [await stack.enter_async_context(one) for one in (gateway, worker)]
        pipeline = Pipeline(scene, topic, 12, services[:1], services[1:], [], session, "events")
        await eventually(partial(_has_table, session), 60)
        yield pipeline


async def _has_table(session: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """The worker makes it once it is a member of its group."""
    return bool(await session.fetchval("SELECT to_regclass('events') IS NOT NULL"))
