"""From repetitions to figures that may be compared: spreads, and ratios within one run."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from tests.benchmarks.measurement import Measurement, more_is_better
from tests.benchmarks.schedule import Series

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Spread(NamedTuple):
    """The least, the middle and the greatest of several values."""

    least: float
    median: float
    most: float


class Ratio(NamedTuple):
    """How good a contender is beside a baseline: 2 is twice as good, whichever way the figure goes.

    `of_medians` divides the medians of all repetitions, `pairs` are the ratios within each repetition.
    """

    of_medians: float
    pairs: Spread


def percentile(ascending: Sequence[float], share: float) -> float:
    """Give the smallest value that `share` of all values do not exceed (nearest rank); NaN where there is none."""
    if not ascending:
        return math.nan
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Give the percentiles that are reported, and `max`; nothing where there are no values."""
    ascending = sorted(values)
    if not ascending:
        return {}
    return {**{name: percentile(ascending, share) for name, share in PERCENTILES.items()}, "max": ascending[-1]}


def spread(values: Sequence[float]) -> Spread:
    """Summarise at least one value."""
    return Spread(min(values), statistics.median(values), max(values))


def values_of(measurements: Sequence[Measurement], figure: str) -> list[float]:
    """Give a figure of each repetition that has it."""
    return [shown[figure] for measured in measurements if figure in (shown := measured.figures())]


def ratio(series: Series, figure: str, contender: str, baseline: str) -> Ratio | None:
    """Compare two contenders of a benchmark; None where one of them lacks the figure."""
    ours = values_of(series.get(contender, ()), figure)
    theirs = values_of(series.get(baseline, ()), figure)
    if not ours or not theirs or min(*ours, *theirs) <= 0:
        return None
    pairs = [_good(figure, mine, other) for mine, other in zip(ours, theirs, strict=False)]
    return Ratio(_good(figure, statistics.median(ours), statistics.median(theirs)), spread(pairs))


def _good(figure: str, ours: float, theirs: float) -> float:
    return ours / theirs if more_is_better(figure) else theirs / ours
