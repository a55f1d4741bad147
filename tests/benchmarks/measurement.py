"""What is measured: contenders that do the same units of work, and what one of them did once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.scene import Scene

UNDER_TEST = "server"
"""Under this name stands the process, or all the processes, that a contender is about."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a contender did in one repetition; every mapping may lack what was not asked for or could not be seen.

    `work` counts the benchmark's unit. CPU seconds are user and system time by name of the processes, children
    included. Latencies go by the name of the percentile (`p50`, `p99`, `p99.9`). `others` are figures of this
    benchmark alone, under names with their unit; less is better except of those that end in `per_second`.
    """

    work: int
    wall_seconds: float
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    latency_seconds: Mapping[str, float] = field(default_factory=dict)
    peak_rss_bytes: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Give everything by which contenders are compared: `per_second`, `cpu_us`, `p99_ms`, `peak_mib` and so on.

        Of processes beside those under test the name is appended: `cpu_us_kafka`.
        """
        units = max(self.work, 1)
        return {
            "per_second": self.work / self.wall_seconds,
            **{_named("cpu_us", name): 1e6 * seconds / units for name, seconds in self.cpu_seconds.items()},
            **{f"{percentile}_ms": 1e3 * seconds for percentile, seconds in self.latency_seconds.items()},
            **{_named("peak_mib", name): size / 2**20 for name, size in self.peak_rss_bytes.items()},
            **self.others,
        }


def _named(figure: str, process: str) -> str:
    return figure if process == UNDER_TEST else f"{figure}_{process}"


def more_is_better(figure: str) -> bool:
    """Whether a higher figure is the better one: rates are, times, sizes and costs are not."""
    return figure.endswith("per_second")


Measure = Callable[[], Awaitable[Measurement]]
"""Warms up, measures once, and checks that the work was done."""


@dataclass(frozen=True)
class Benchmark:
    """One unit of work and who does it, by name. `repetitions` is how many there are at least."""

    name: str
    unit: str
    contenders: Mapping[str, Measure]
    repetitions: int = 3


Open = Callable[["Scene"], AbstractAsyncContextManager[Sequence[Benchmark]]]
"""Starts what the benchmarks of a part need and stops it at the end."""


@dataclass(frozen=True)
class Part:
    """Benchmarks that run interleaved, on servers that are started once."""

    name: str
    open: Open
