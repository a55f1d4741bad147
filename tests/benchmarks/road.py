"""The whole road: from POST to a readable row, saturated and at fixed rates."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from tests.benchmarks.child import ask
from tests.benchmarks.consumption import Watch
from tests.benchmarks.load import generate, of_the_generator
from tests.benchmarks.measurement import Benchmark, Measurement, Part
from tests.benchmarks.orders import Order, Report
from tests.benchmarks.payload import posts
from tests.benchmarks.pipelines import Pipeline, obvious, product
from tests.benchmarks.prober import Probed, Probing
from tests.benchmarks.scene import Scene
from tests.benchmarks.targets import OBVIOUS, PRODUCT, Limit, Target

SATURATED = "whole road, saturated"
HALF = "whole road, half of saturation"
RATES = (200, 1_000)
EVENTS = 5
ROW_BY_ROW = f"{OBVIOUS}, one INSERT a message"
MANY_ROWS = f"{OBVIOUS}, executemany"
DOUBLE = f"{PRODUCT}, two gateways and two workers"
SUBMISSIONS = range(1, 1_281)
_CONNECTIONS = 128
_SECONDS = 6.0
_SECONDS_AT_A_RATE = 12.0
_DRAIN_SECONDS = 12.0  # the row by row version would take minutes: what it has by then is what counts
_LOOK_SECONDS = 0.1
_PROBE_AFTER_SECONDS = 2.0  # when the generator has warmed up
_LAG_EVERY_SECONDS = 1.0

Start = Callable[[Scene], AbstractAsyncContextManager[Pipeline]]


def fixed_rate(rate: int) -> str:
    """Name the benchmark of requests that are sent as planned."""
    return f"whole road, {rate} requests/s"


def with_partitions(partitions: int) -> str:
    """Name the product on fewer partitions than the default."""
    return f"{PRODUCT}, {partitions} partition{'' if partitions == 1 else 's'}"


TARGETS = (
    Target(SATURATED, "per_second", MANY_ROWS, 2.7, 4.0),
    Target(SATURATED, "per_second", ROW_BY_ROW),
    Target(SATURATED, "per_second", PRODUCT, contender=DOUBLE),
    *(Target(SATURATED, "per_second", PRODUCT, contender=with_partitions(count)) for count in (1, 4)),
)
LIMITS = (
    Limit(HALF, "readable_p99_ms", 1_000),
    *(Limit(fixed_rate(rate), "readable_p99_ms", 1_000) for rate in RATES),
)

CONTENDERS: dict[str, Start] = {
    PRODUCT: product,
    MANY_ROWS: partial(obvious, mode="executemany"),
    ROW_BY_ROW: partial(obvious, mode="insert"),
    DOUBLE: partial(product, gateways=2, workers=2),
    **{with_partitions(count): partial(product, partitions=count) for count in (1, 4)},
}


def _order(scene: Scene, pipeline: Pipeline, seconds: float, rate: float | None = None) -> Order:
    template = posts(EVENTS, SUBMISSIONS)
    return Order(
        ports=[one.port for one in pipeline.gateways],
        heads=template.heads,
        body=template.body,
        connections=_CONNECTIONS,
        seconds=scene.seconds(seconds),
        rate=rate,
    )


@dataclass
class Road:
    """The measurements; each starts its own processes, with a topic and a database of their own."""

    scene: Scene
    saturated_per_second: list[float] = field(default_factory=list)

    async def saturate(self, start: Start) -> Measurement:
        """Post as fast as answers come, then wait until everything is readable; an event counts when it is."""
        async with start(self.scene) as pipeline:
            watch = Watch(pipeline.watched)
            watch.begin()
            report = await self._generate(pipeline, _SECONDS)
            published = await self.scene.records_in(pipeline.topic, partitions=pipeline.partitions)
            behind = published - await pipeline.rows()
            _require(published == report.acknowledged * EVENTS, "not every acknowledged event is in the topic")
            rows = await self._drain(pipeline, published)
            ended_at, consumed = time.monotonic(), watch.end()
        _require(rows <= published, "there are more rows than events")
        return Measurement(
            work=rows,
            wall_seconds=ended_at - report.first_request_at,
            cpu_seconds=consumed.cpu_seconds,
            latency_seconds=report.latency_seconds,
            peak_rss_bytes=consumed.peak_rss_bytes,
            others={"lag_events": behind, "never_stored_events": published - rows, **of_the_generator(report)},
        )

    async def saturate_product(self) -> Measurement:
        """As `saturate`, and remember how fast it went."""
        measured = await self.saturate(product)
        self.saturated_per_second.append(measured.figures()["per_second"])
        return measured

    async def at_half(self) -> Measurement:
        """Measure at half of what the product has reached in this run."""
        if not self.saturated_per_second:
            await self.saturate_product()
        return await self.at_rate(statistics.median(self.saturated_per_second) / EVENTS / 2)

    async def at_rate(self, rate: float) -> Measurement:
        """Post `rate` requests a second as planned, and probe how soon an event is readable after its 204."""
        async with product(self.scene) as pipeline:
            watch = Watch(pipeline.watched)
            watch.begin()
            lag = Lag(pipeline)
            watching = asyncio.create_task(lag.watch())
            async with asyncio.TaskGroup() as both:
                loading = both.create_task(self._generate(pipeline, _SECONDS_AT_A_RATE, rate))
                probing = both.create_task(self._probe(pipeline))
            await _cancelled(watching)
            report, probed, consumed = loading.result(), probing.result(), watch.end()
            events = report.acknowledged * EVENTS + probed.acknowledged
            rows = await self._drain(pipeline, events)
        _require(rows == events, "what was acknowledged is not what is stored")
        _require(probed.readable == probed.acknowledged, "an acknowledged event did not become readable")
        return Measurement(
            work=events,
            wall_seconds=consumed.wall_seconds,
            cpu_seconds=consumed.cpu_seconds,
            latency_seconds=report.latency_seconds,
            peak_rss_bytes=consumed.peak_rss_bytes,
            others={
                "requests_per_second": rate,
                **{f"readable_{name}_ms": 1e3 * seconds for name, seconds in probed.after_seconds.items()},
                "lag_events": lag.highest,
                **of_the_generator(report),
            },
        )

    async def _generate(self, pipeline: Pipeline, seconds: float, rate: float | None = None) -> Report:
        cores = self.scene.shares.everything
        return await generate(self.scene, _order(self.scene, pipeline, seconds, rate), cores)

    async def _probe(self, pipeline: Pipeline) -> Probed:
        await asyncio.sleep(_PROBE_AFTER_SECONDS)
        probing = Probing(
            gateway_port=pipeline.gateways[0].port,
            reader_port=pipeline.readers[0].port,
            seconds=self.scene.seconds(_SECONDS_AT_A_RATE) - _PROBE_AFTER_SECONDS,
        )
        return await ask("tests.benchmarks.prober", probing, Probed, self.scene.shares.everything)

    async def _drain(self, pipeline: Pipeline, events: int) -> int:
        """Wait until so many rows are readable, for a while; give how many are."""
        give_up_at = time.monotonic() + self.scene.seconds(_DRAIN_SECONDS)
        rows = await pipeline.rows()
        while rows < events and time.monotonic() < give_up_at:
            await asyncio.sleep(_LOOK_SECONDS)
            rows = await pipeline.rows()
        return rows


class Lag:
    """Looks every second how many records are not in the table yet."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.highest = 0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.highest = max(self.highest, await self._pipeline.lag())
            await asyncio.sleep(_LAG_EVERY_SECONDS)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; raises what it failed of."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


@asynccontextmanager
async def opened(scene: Scene) -> AsyncIterator[Sequence[Benchmark]]:
    """Let everything work on all cores, as on one machine that has no others."""
    scene.move_engines(scene.shares.everything)
    try:
        yield benchmarks(Road(scene))
    finally:
        scene.move_engines(scene.shares.engines)


def benchmarks(road: Road) -> list[Benchmark]:
    """Make the benchmarks."""
    saturated = {name: partial(road.saturate, start) for name, start in CONTENDERS.items()}
    at_rates = [Benchmark(fixed_rate(rate), "event", {PRODUCT: partial(road.at_rate, rate)}) for rate in RATES]
    return [
        Benchmark(SATURATED, "event", {**saturated, PRODUCT: road.saturate_product}),
        Benchmark(HALF, "event", {PRODUCT: road.at_half}),
        *at_rates,
    ]


PART = Part("road", opened)
