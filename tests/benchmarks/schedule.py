"""The order of measurements: every contender once, then every contender again; all share good and bad moments."""

import gc
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from tests.benchmarks.measurement import Benchmark, Measurement

Item = TypeVar("Item")

Series = Mapping[str, Sequence[Measurement]]
"""The measurements of a benchmark by contender, in order of repetition."""


class Outcome(NamedTuple):
    """A benchmark and what its repetitions gave."""

    part: str
    name: str
    unit: str
    series: Series


class Turn(NamedTuple):
    """One measurement to be made."""

    repetition: int
    benchmark: Benchmark
    contender: str


def in_turn(items: Sequence[Item], repetition: int) -> list[Item]:
    """Give `items` in another order at each repetition: reversed at every other one, begun one later at every second.

    So nobody always comes first, nor always after the same neighbour.
    """
    start = repetition // 2 % max(len(items), 1)
    rotated = [*items[start:], *items[:start]]
    return rotated[::-1] if repetition % 2 else rotated


def plan(benchmarks: Sequence[Benchmark], repetitions: int | None) -> list[Turn]:
    """Give all turns: repetition by repetition, in each of them every contender of every benchmark once.

    `repetitions` counts for all; None leaves it to each benchmark.
    """
    wanted = [repetitions or benchmark.repetitions for benchmark in benchmarks]
    return [
        Turn(repetition, benchmark, contender)
        for repetition in range(max(wanted, default=0))
        for benchmark, wants in zip(benchmarks, wanted, strict=True)
        if repetition < wants
        for contender in in_turn(list(benchmark.contenders), repetition)
    ]


async def run(part: str, benchmarks: Sequence[Benchmark], repetitions: int | None = None) -> list[Outcome]:
    """Make all measurements and tell about each on stderr."""
    found: dict[str, dict[str, list[Measurement]]] = {
        benchmark.name: {contender: [] for contender in benchmark.contenders} for benchmark in benchmarks
    }
    turns = plan(benchmarks, repetitions)
    for number, turn in enumerate(turns, 1):
        gc.collect()
        measured = await turn.benchmark.contenders[turn.contender]()
        found[turn.benchmark.name][turn.contender].append(measured)
        sys.stderr.write(f"[{part} {number}/{len(turns)}] {_told(turn, measured)}\n")
    return [Outcome(part, one.name, one.unit, found[one.name]) for one in benchmarks]


def _told(turn: Turn, measured: Measurement) -> str:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.figures().items())
    return f"{turn.benchmark.name} | {turn.contender} | {shown}"
