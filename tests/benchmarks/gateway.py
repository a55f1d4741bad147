"""The gateway beside a bare aiohttp handler and the obvious version."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.benchmarks.load import generate, measurement
from tests.benchmarks.measurement import UNDER_TEST, Benchmark, Measure, Measurement, Part
from tests.benchmarks.orders import Order
from tests.benchmarks.payload import posts
from tests.benchmarks.scene import Scene, Service
from tests.benchmarks.targets import BARE, OBVIOUS, PRODUCT, Target

from quizstream.local import ports

SIZES = (1, 5, 20, 100)
RATES = (200, 500, 1_000, 3_000)
PAIRED_RATE = 500
PAIRS = 5
SUBMISSIONS = range(1, 1_281)  # a lecture hall, each with a token of its own; more than there are connections
_SECONDS = 2.5
_SECONDS_AT_A_RATE = 4.0
_HIGHEST_RATE_OF_OBVIOUS = 500  # of five events each it cannot take much more


def closed_loop(events: int) -> str:
    """Name the benchmark of requests that follow their answers."""
    return f"POST {events} event{'' if events == 1 else 's'}, {connections(events)} connections"


def fixed_rate(rate: int) -> str:
    """Name the benchmark of requests that are sent as planned."""
    return f"POST 5 events, {rate} requests/s"


def connections(events: int) -> int:
    """Give how many clients there are."""
    return 64 if events >= 20 else 32


TARGETS = (
    Target(closed_loop(5), "cpu_us", BARE, 0.40, 0.45),
    Target(closed_loop(20), "cpu_us", BARE, 0.28, 0.33),
    Target(closed_loop(5), "cpu_us", OBVIOUS, 3.0, 4.5),
    Target(closed_loop(20), "cpu_us", OBVIOUS, 5.0, 8.0),
    Target(fixed_rate(PAIRED_RATE), "p99_ms", BARE, goal=0.5, paired=True),
    *(Target(closed_loop(events), "cpu_us", BARE) for events in (1, 100)),
    *(Target(closed_loop(events), "cpu_us", OBVIOUS) for events in (1, 100)),
    *(Target(closed_loop(events), "per_second", OBVIOUS) for events in SIZES),
)


@dataclass(frozen=True)
class Contender:
    """A server that answers POST, and the topic in which what it acknowledged must be found."""

    scene: Scene
    service: Service
    topic: str | None

    async def measure(self, order: Order, events: int) -> Measurement:
        """Post, and count what has come to the topic.

        Raises:
            RuntimeError: an answer was not 204, or the topic holds more or less than was acknowledged.

        """
        before = await self._records()
        report = await generate(self.scene, order)
        published = await self._records() - before
        if self.topic and published != report.acknowledged * events:
            raise RuntimeError(f"{report.acknowledged * events} events were acknowledged, {published} published")
        return measurement(report)

    def closed_loop(self, events: int) -> Measure:
        """Give the measurement of requests that follow their answers."""
        return lambda: self.measure(self._order(events, connections(events), _SECONDS), events)

    def fixed_rate(self, rate: int) -> Measure:
        """Give the measurement of requests of five events that are sent as planned."""
        return lambda: self.measure(self._order(5, 64, _SECONDS_AT_A_RATE, rate), 5)

    async def _records(self) -> int:
        return await self.scene.records_in(self.topic) if self.topic else 0

    def _order(self, events: int, clients: int, seconds: float, rate: float | None = None) -> Order:
        template = posts(events, SUBMISSIONS)
        return Order(
            ports=[self.service.port],
            heads=template.heads,
            body=template.body,
            connections=clients,
            seconds=self.scene.seconds(seconds),
            rate=rate,
            watched={UNDER_TEST: [self.service.pid], "kafka": self.scene.kafka},
        )


@asynccontextmanager
async def opened(scene: Scene) -> AsyncIterator[Sequence[Benchmark]]:
    """Start the product, the bare handler and the obvious version, all on the same core: only one works at a time."""
    obvious_topic, cores = await scene.topic(), scene.shares.under_test
    obvious_port, bare_port = ports.any_free(), ports.any_free()
    obvious_arguments = [str(obvious_port), scene.bootstrap_servers, obvious_topic]
    async with (
        scene.deployment() as deployment,
        scene.command("gateway", deployment, cores) as product,
        scene.module("tests.benchmarks.obvious.gateway", obvious_arguments, cores, obvious_port) as obvious,
        scene.module("tests.benchmarks.bare_server", [str(bare_port)], cores, bare_port) as bare,
    ):
        yield benchmarks(
            Contender(scene, product, deployment.topic),
            Contender(scene, bare, None),
            Contender(scene, obvious, obvious_topic),
        )
    await scene.remove_topic(obvious_topic)


def benchmarks(product: Contender, bare: Contender, obvious: Contender) -> list[Benchmark]:
    """Make the benchmarks of running servers."""
    named = {PRODUCT: product, BARE: bare, OBVIOUS: obvious}
    saturated = [
        Benchmark(closed_loop(events), "request", {name: one.closed_loop(events) for name, one in named.items()})
        for events in SIZES
    ]
    at_rates = [
        Benchmark(
            fixed_rate(rate),
            "request",
            {
                name: one.fixed_rate(rate)
                for name, one in named.items()
                if one is not obvious or rate <= _HIGHEST_RATE_OF_OBVIOUS
            },
            PAIRS if rate == PAIRED_RATE else 3,
        )
        for rate in RATES
    ]
    return [*saturated, *at_rates]


PART = Part("gateway", opened)
