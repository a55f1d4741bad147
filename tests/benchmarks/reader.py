"""The reader beside the bare query and beside FastAPI, on a large table."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import storage
from tests.benchmarks.bare_query import QueryOrder, QueryReport
from tests.benchmarks.child import ask
from tests.benchmarks.load import generate, measurement
from tests.benchmarks.measurement import UNDER_TEST, Benchmark, Measure, Measurement
from tests.benchmarks.orders import Order
from tests.benchmarks.payload import Template, gets
from tests.benchmarks.scene import Deployment, Scene, Service
from tests.benchmarks.targets import PRODUCT, Target

from quizstream.local import ports

CONNECTIONS = (1, 16)
PAGE = "?per_page=10000"
QUERY = "bare query"
DICTS = "FastAPI, dictionaries"
MODELS = "FastAPI, response model"
MEMORY = "memory of the reader, 4 connections"
_SIZE_FOR_MODELS = 1_000
_ATTEMPTS = 400  # of a size, by turns
_PAGES_OF_LONGEST = storage.LONGEST_ATTEMPT_EVENTS // 10_000
_WARM_UP_SECONDS = 0.4
_SECONDS = {50: 1.2, 200: 1.2, 1_000: 1.5, 10_000: 3.0, storage.LONGEST_ATTEMPT_EVENTS: 3.0}


def get(events: int, connections: int) -> str:
    """The benchmark's name for reading whole attempts."""
    return f"GET {events:,} events, {connections} connection{'' if connections == 1 else 's'}"


def memory_of(events: int) -> str:
    """The contender's name for reading attempts of a size."""
    return f"{events:,} events" + (" in pages of 10,000" if events > 10_000 else "")


TARGETS = (
    Target(get(1_000, 16), "per_second", DICTS, at_least=15, goal=35),
    *(
        Target(get(events, connections), "per_second", baseline)
        for events in storage.ATTEMPT_EVENTS
        for connections in CONNECTIONS
        for baseline in (DICTS, MODELS, QUERY)
        if (events, connections, baseline) != (1_000, 16, DICTS)
    ),
    *(Target(get(1_000, 16), "cpu_us", baseline) for baseline in (DICTS, MODELS)),
    *(
        Target(MEMORY, "peak_mib", memory_of(1_000), at_least=0.8, contender=memory_of(events))
        for events in (10_000, storage.LONGEST_ATTEMPT_EVENTS)
    ),
)


@dataclass(frozen=True)
class Readers:
    """A filled store, and who reads from it: processes on one core by turns, the store on all of them."""

    scene: Scene
    deployment: Deployment
    attempts: Sequence[storage.Attempt]

    def heads(self, events: int) -> Template:
        """Requests for attempts of a size, whole or page by page."""
        submissions = self.submissions(events)
        if events <= 10_000:
            return gets(submissions, PAGE)
        pages = [gets(submissions, f"{PAGE}&page={page}").heads for page in range(1, _PAGES_OF_LONGEST + 1)]
        return Template([head for heads in pages for head in heads], [""])

    def submissions(self, events: int) -> list[int]:
        """Some submissions with attempts of a size."""
        return [attempt.submission_id for attempt in self.attempts if attempt.events == events][:_ATTEMPTS]

    async def get(self, server: Service, events: int, connections: int) -> Measurement:
        """Read attempts from a server."""
        template = self.heads(events)
        order = Order(
            ports=[server.port],
            heads=template.heads,
            body=template.body,
            connections=connections,
            seconds=self.scene.seconds(_SECONDS[events]),
            warm_up_seconds=_WARM_UP_SECONDS,
            expected_status=200,
            watched={UNDER_TEST: [server.pid], "postgresql": self.scene.postgresql},
        )
        with _engines_everywhere(self.scene):
            return measurement(await generate(self.scene, order))

    async def query(self, events: int, connections: int) -> Measurement:
        """Read attempts without a server."""
        order = QueryOrder(
            url=self.deployment.database_url,
            submissions=self.submissions(events),
            connections=connections,
            seconds=self.scene.seconds(_SECONDS[events]),
            warm_up_seconds=_WARM_UP_SECONDS,
            watched={"postgresql": self.scene.postgresql},
        )
        with _engines_everywhere(self.scene):
            report = await ask("tests.benchmarks.bare_query", order, QueryReport, self.scene.shares.under_test)
        return Measurement(
            work=report.answered,
            wall_seconds=report.wall_seconds,
            cpu_seconds=report.cpu_seconds,
            latency_seconds=report.latency_seconds,
            peak_rss_bytes=report.peak_rss_bytes,
        )

    async def memory(self, events: int) -> Measurement:
        """Read attempts of one size from a reader that has read nothing else."""
        async with self.scene.command("reader", self.deployment, self.scene.shares.under_test) as reader:
            return await self.get(reader, events, 4)

    async def require_equal_answers(self, first: int, second: int) -> None:
        """See that two servers show the same events.

        Raises:
            RuntimeError: they do not.

        """
        for events in storage.ATTEMPT_EVENTS:
            head = self.heads(events).heads[0]
            if len({await asyncio.to_thread(_ids, port, head) for port in (first, second)}) != 1:
                raise RuntimeError(f"the answers with {events} events differ")


def _ids(port: int, head: str) -> tuple[str, ...]:
    """The ids of an answer's events."""
    target = head.split(" ", 2)[1]
    authorization = next(line for line in head.split("\r\n") if line.startswith("Authorization: "))
    request = urllib.request.Request(
        f"http://{ports.LOOPBACK}:{port}{target}", headers=dict([authorization.split(": ", 1)])
    )
    with urllib.request.urlopen(request) as answer:
        return tuple(event["id"] for event in json.load(answer)["quiz_submission_events"])


@contextmanager
def _engines_everywhere(scene: Scene) -> Iterator[None]:
    """Let PostgreSQL work on all cores: on one core with the load, the two would be measured together."""
    scene.move_engines(scene.shares.everything)
    try:
        yield
    finally:
        scene.move_engines(scene.shares.engines)


@asynccontextmanager
async def opened(readers: Readers) -> AsyncIterator[Sequence[Benchmark]]:
    """Start the reader and both FastAPI versions."""
    cores = readers.scene.shares.under_test
    async with (
        readers.scene.command("reader", readers.deployment, cores) as product,
        _fast_api(readers, "dicts") as dicts,
        _fast_api(readers, "models") as models,
    ):
        for other in (dicts, models):
            await readers.require_equal_answers(product.port, other.port)
        servers = {PRODUCT: product, DICTS: dicts, MODELS: models}
        yield [
            *(
                Benchmark(get(events, connections), "answer", _contenders(readers, servers, events, connections))
                for events in storage.ATTEMPT_EVENTS
                for connections in CONNECTIONS
            ),
            Benchmark(MEMORY, "answer", {memory_of(events): partial(readers.memory, events) for events in _SECONDS}),
        ]


def _contenders(readers: Readers, servers: Mapping[str, Service], events: int, connections: int) -> dict[str, Measure]:
    return {
        **{
            name: partial(readers.get, server, events, connections)
            for name, server in servers.items()
            if name != MODELS or events == _SIZE_FOR_MODELS
        },
        QUERY: partial(readers.query, events, connections),
    }


@asynccontextmanager
async def _fast_api(readers: Readers, way: str) -> AsyncIterator[Service]:
    port = ports.any_free()
    arguments = [way, readers.deployment.database_url, str(port)]
    cores = readers.scene.shares.under_test
    async with readers.scene.module("tests.benchmarks.plain_reader", arguments, cores, port) as service:
        yield service
