"""Measurements made up for tests."""

from tests.benchmarks.measurement import UNDER_TEST, Measurement
from tests.benchmarks.schedule import Outcome


def costing(*cpu_us: float) -> list[Measurement]:
    """Measurements of 1,000 units in a second, at so much CPU time each."""
    return [
        Measurement(work=1_000, wall_seconds=1.0, cpu_seconds={UNDER_TEST: cost / 1_000}, latency_seconds={"p99": cost})
        for cost in cpu_us
    ]


def outcome(name: str, **series: list[Measurement]) -> Outcome:
    """A benchmark of these contenders; `_` stands for a blank."""
    return Outcome("part", name, "unit", {contender.replace("_", " "): found for contender, found in series.items()})
