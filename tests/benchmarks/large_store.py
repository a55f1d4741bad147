"""Reading from a large store, and whether its size, or that of the exam, changes what an event costs."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from tests.benchmarks import reader, storage
from tests.benchmarks.bursts import bursts
from tests.benchmarks.measurement import Benchmark, Measure, Part
from tests.benchmarks.prefill import Topic, filled
from tests.benchmarks.scene import Deployment, Scene
from tests.benchmarks.targets import Target
from tests.benchmarks.writing import measure_worker

SMALL_ROWS, LARGE_ROWS = 500_000, 5_000_000
FEW_SUBMISSIONS, MANY_SUBMISSIONS = 100, 100_000
GROWTH = "worker, cost of an event as table and exam grow"
PAGES = "reader, cost of a page as the table grows: GET 1,000 events, 16 connections"
_RECORDS = 400_000
# Behind a checkpoint the first write to a page puts the whole page into PostgreSQL's log: a cost that goes by how often
# there are checkpoints, not by the size of the table. What the first half of the records costs is not counted.
_UNCOUNTED_SHARE = 0.5
_LINEAR = 1 / 1.2  # within 20 %


class Store(NamedTuple):
    """A filled store that nobody is connected to, and what is in it."""

    rows: int
    deployment: Deployment
    attempts: Sequence[storage.Attempt]


def millions(rows: int) -> str:
    """Name a table by its rows."""
    return f"{rows / 1e6:g} million rows"


def growth(rows: int, submissions: int) -> str:
    """The contender's name for the worker at a size of table and exam."""
    return f"{millions(rows)}, {submissions:,} submissions"


def targets(small: int, large: int) -> Iterator[Target]:
    """Give what growth may cost: 20 % where table or exam are a thousand times as large, or ten."""
    for figure, at_least in (("cpu_us", _LINEAR), ("cpu_us_postgresql", None), ("cpu_us_together", None)):
        for submissions in (FEW_SUBMISSIONS, MANY_SUBMISSIONS):
            yield Target(GROWTH, figure, growth(small, submissions), at_least, contender=growth(large, submissions))
        for rows in (small, large):
            few, many = growth(rows, FEW_SUBMISSIONS), growth(rows, MANY_SUBMISSIONS)
            yield Target(GROWTH, figure, few, at_least, contender=many)
    for figure, at_least in (("cpu_us", _LINEAR), ("cpu_us_postgresql", None), ("per_second", None)):
        yield Target(PAGES, figure, millions(small), at_least, contender=millions(large))


TARGETS = (*reader.TARGETS, *targets(SMALL_ROWS, LARGE_ROWS))


@asynccontextmanager
async def opened(scene: Scene) -> AsyncIterator[Sequence[Benchmark]]:
    """Fill a small store and a large one; readers get copies, as what is copied for the worker must have no users."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(filled_store(scene, rows)) for rows in (SMALL_ROWS, LARGE_ROWS)]
        growing = await stack.enter_async_context(writing(scene, stores))
        copies = [await stack.enter_async_context(_copied(scene, store)) for store in stores]
        yield [*await stack.enter_async_context(reading(scene, copies)), growing]


@asynccontextmanager
async def filled_store(scene: Scene, rows: int) -> AsyncIterator[Store]:
    """Give a store with so many rows of earlier exams."""
    async with scene.deployment() as deployment:
        yield Store(rows, deployment, await storage.fill(deployment.database_url, rows))


@asynccontextmanager
async def reading(scene: Scene, stores: Sequence[Store]) -> AsyncIterator[Sequence[Benchmark]]:
    """Start readers: all of them on the last store, which is the largest, and the product on each."""
    readers = [reader.Readers(scene, store.deployment, store.attempts) for store in stores]
    async with AsyncExitStack() as stack:
        beside_others = await stack.enter_async_context(reader.opened(readers[-1]))
        pages = {
            millions(store.rows): await stack.enter_async_context(_page(one))
            for store, one in zip(stores, readers, strict=True)
        }
        yield [*beside_others, Benchmark(PAGES, "answer", pages)]


@asynccontextmanager
async def writing(scene: Scene, stores: Sequence[Store]) -> AsyncIterator[Benchmark]:
    """Fill topics for the worker, which writes each of them into copies of each store."""
    records, begin = int(scene.seconds(_RECORDS)), datetime.now(UTC)
    async with AsyncExitStack() as stack:
        topics = {
            submissions: await stack.enter_async_context(filled(scene, bursts(submissions, begin), records))
            for submissions in (FEW_SUBMISSIONS, MANY_SUBMISSIONS)
        }
        yield Benchmark(GROWTH, "record", _growth(scene, stores, topics))


@asynccontextmanager
async def _copied(scene: Scene, store: Store) -> AsyncIterator[Store]:
    original = store.deployment
    async with storage.copied(scene.postgres_url, storage.name_of(original.database_url)) as url:
        environment = {**original.environment, "QUIZSTREAM_DATABASE_URL": url}
        yield store._replace(deployment=replace(original, database_url=url, environment=environment))


@asynccontextmanager
async def _page(readers: reader.Readers) -> AsyncIterator[Measure]:
    async with readers.scene.command("reader", readers.deployment, readers.scene.shares.under_test) as server:
        yield partial(readers.get, server, 1_000, 16)


def _growth(scene: Scene, stores: Sequence[Store], topics: Mapping[int, Topic]) -> dict[str, Measure]:
    return {
        growth(store.rows, submissions): partial(
            measure_worker,
            scene,
            store.deployment,
            storage.name_of(store.deployment.database_url),
            topic,
            after=int(topic.records * _UNCOUNTED_SHARE),
        )
        for store in stores
        for submissions, topic in topics.items()
    }


PART = Part("large-store", opened)
