"""All parts of the benchmark and their targets, in the order in which they run."""

from tests.benchmarks import gateway

PARTS = (gateway.PART,)
TARGETS = (*gateway.TARGETS,)
LIMITS = ()
