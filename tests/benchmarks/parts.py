"""All parts of the benchmark and their targets, in the order in which they run."""

from collections.abc import Sequence

from tests.benchmarks import gateway, road
from tests.benchmarks.measurement import Part
from tests.benchmarks.targets import Limit, Target

PARTS: Sequence[Part] = (gateway.PART, road.PART)
TARGETS: Sequence[Target] = (*gateway.TARGETS, *road.TARGETS)
LIMITS: Sequence[Limit] = (*road.LIMITS,)
