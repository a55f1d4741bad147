"""The worker beside COPY into the same table, and beside what somebody would write first."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.benchmarks import storage
from tests.benchmarks.bursts import bursts
from tests.benchmarks.measurement import Benchmark, Measure, Part
from tests.benchmarks.prefill import Topic, filled
from tests.benchmarks.scene import Deployment, Scene
from tests.benchmarks.targets import PRODUCT, Target
from tests.benchmarks.writing import PSQL, measure_plain, measure_psql, measure_worker

WRITE = "store a topic"
SUBMISSIONS = 4_000
RECORDS = 500_000
# The slow ones are measured over a part of the topic, which takes them as long as the worker takes for all of it.
_SHARE_OF_EXECUTEMANY = 0.3
_SHARE_OF_INSERT = 0.015
ONE_IN_A_HUNDRED = f"{PRODUCT}, 1 % re-deliveries"
EVERY_OTHER = f"{PRODUCT}, 50 % re-deliveries"
COPY_5000 = "COPY into the same table, 5,000 rows a transaction"
COPY_20000 = "COPY into the same table, 20,000 rows a transaction"
PSQL_COPY = r"psql \copy into the same table, one transaction"
EXECUTEMANY = "consumer, executemany(500)"
INSERT = "consumer, one INSERT per message"
TARGETS = (
    Target(WRITE, "per_second", COPY_5000, at_least=0.6, goal=0.8),
    Target(WRITE, "per_second", COPY_5000, at_least=0.6, contender=ONE_IN_A_HUNDRED),
    Target(WRITE, "per_second", COPY_5000, at_least=0.55, contender=EVERY_OTHER),
    Target(WRITE, "per_second", COPY_20000),
    Target(WRITE, "per_second", PSQL_COPY),
    Target(WRITE, "per_second", EXECUTEMANY, at_least=4),
    Target(WRITE, "per_second", INSERT),
    Target(WRITE, "cpu_us_together", COPY_5000),
    Target(WRITE, "cpu_us_together", EXECUTEMANY),
)
_REDELIVERED = {PRODUCT: 0.0, ONE_IN_A_HUNDRED: 0.01, EVERY_OTHER: 0.5}


@dataclass(frozen=True)
class Stock:
    """Topics by contender, the rows of the first one in a file, and the empty store that all get copies of."""

    deployment: Deployment
    topics: Mapping[str, Topic]
    lines: Path

    @property
    def rows(self) -> int:
        """The lines of the file."""
        return self.topics[PRODUCT].records

    def contenders(self, scene: Scene) -> dict[str, Measure]:
        """Give everybody's measurement by name."""
        copy = {COPY_5000: "5000", COPY_20000: "20000"}
        consumers = {EXECUTEMANY: ("executemany", _SHARE_OF_EXECUTEMANY), INSERT: ("insert", _SHARE_OF_INSERT)}
        source = (scene.bootstrap_servers, self.topics[PRODUCT].name)
        database = storage.name_of(self.deployment.database_url)
        write = partial(measure_plain, scene, database)
        return {
            **{
                name: partial(measure_worker, scene, self.deployment, database, topic)
                for name, topic in self.topics.items()
            },
            **{name: partial(write, "copy", (str(self.lines), rows), self.rows) for name, rows in copy.items()},
            **({PSQL_COPY: partial(measure_psql, scene, database, self.lines, self.rows)} if PSQL.exists() else {}),
            **{name: partial(write, way, source, int(self.rows * share)) for name, (way, share) in consumers.items()},
        }


@asynccontextmanager
async def opened(scene: Scene) -> AsyncIterator[Sequence[Benchmark]]:
    """Fill a topic for each share of re-deliveries, and write the rows of the first into a file."""
    records, begin = int(scene.seconds(RECORDS)), datetime.now(UTC)
    lines = scene.directory / "rows"
    async with scene.deployment() as deployment, AsyncExitStack() as stack:
        topics = {
            name: await stack.enter_async_context(
                filled(scene, bursts(SUBMISSIONS, begin, share), records, lines if name == PRODUCT else None)
            )
            for name, share in _REDELIVERED.items()
        }
        yield [Benchmark(WRITE, "record", Stock(deployment, topics, lines).contenders(scene))]


PART = Part("worker", opened)
