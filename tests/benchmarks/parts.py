"""All parts of the benchmark and their targets, in the order in which they run."""

from collections.abc import Sequence

from tests.benchmarks import gateway, large_store, road, worker
from tests.benchmarks.measurement import Part
from tests.benchmarks.targets import Limit, Target

PARTS: Sequence[Part] = (gateway.PART, worker.PART, large_store.PART, road.PART)
TARGETS: Sequence[Target] = (*gateway.TARGETS, *worker.TARGETS, *large_store.TARGETS, *road.TARGETS)
LIMITS: Sequence[Limit] = (*road.LIMITS,)
