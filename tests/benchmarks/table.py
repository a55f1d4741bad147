"""The results as text: every figure with its spread, and the targets with a verdict."""

from collections.abc import Iterator, Sequence

from tests.benchmarks.schedule import Outcome
from tests.benchmarks.summary import Spread, ratio, spread, values_of
from tests.benchmarks.targets import Bounded, Judged

SHOWN_FIGURES = (
    "per_second",
    "cpu_us",
    "p50_ms",
    "p99_ms",
    "p99.9_ms",
    "readable_p50_ms",
    "readable_p99_ms",
    "peak_mib",
)
MAIN_FIGURES = ("per_second", "cpu_us", "p50_ms", "p99_ms", "p99.9_ms", "peak_mib")


def rows(outcomes: Sequence[Outcome], figures: Sequence[str] = ()) -> Iterator[str]:
    """Give the table of all measurements in Markdown; `figures` names those shown, else the main and the others' own.

    The last column divides the median by that of the benchmark's first contender, so that above 1 is better than it.
    """
    yield "| benchmark | contender | figure | min | median | max | first contender : this |"
    yield "|---|---|---|---|---|---|---|"
    for outcome in outcomes:
        first = next(iter(outcome.series))
        for contender in outcome.series:
            for figure in figures or _figures_of(outcome, contender):
                if values := values_of(outcome.series[contender], figure):
                    compared = ratio(outcome.series, figure, first, contender) if contender != first else None
                    beside = f"{compared.of_medians:.2f}" if compared else ""
                    yield f"| {outcome.name} | {contender} | {figure} | {_spread(spread(values))} | {beside} |"


def _figures_of(outcome: Outcome, contender: str) -> list[str]:
    """Give the main figures, then those of other processes and of this benchmark alone."""
    found = dict.fromkeys(name for measured in outcome.series[contender] for name in measured.figures())
    others = [name for name in found if name not in MAIN_FIGURES and "p90_" not in name and "max_" not in name]
    return [*(name for name in MAIN_FIGURES if name in found), *others]


def target_rows(judged: Sequence[Judged]) -> Iterator[str]:
    """Give the table of targets in Markdown."""
    yield "| benchmark | figure | compared | ratio | per repetition | at least | goal | |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in judged:
        target = one.target
        pairs = one.ratio.pairs
        yield (
            f"| {target.benchmark} | {target.figure} | {target.contender} : {target.baseline} | {one.value:.2f} "
            f"| {pairs.least:.2f} to {pairs.most:.2f} | {_optional(target.at_least)} | {_optional(target.goal)} "
            f"| {one.verdict} |"
        )


def limit_rows(bounded: Sequence[Bounded]) -> Iterator[str]:
    """Give the table of limits in Markdown."""
    yield "| benchmark | contender | figure | median | at most | |"
    yield "|---|---|---|---|---|---|"
    for limit, median in bounded:
        verdict = Bounded(limit, median).verdict
        yield (
            f"| {limit.benchmark} | {limit.contender} | {limit.figure} | {_number(median)} "
            f"| {_number(limit.at_most)} | {verdict} |"
        )


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _spread(values: Spread) -> str:
    return " | ".join(map(_number, values))


def _number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
