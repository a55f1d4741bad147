"""What the product promises of its speed, as data: against whom, how much at least, and what is hoped for."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tests.benchmarks.schedule import Outcome
from tests.benchmarks.summary import Ratio, ratio, spread, values_of

PRODUCT = "quizstream"
BARE = "bare aiohttp"
OBVIOUS = "obvious version"

Verdict = Literal["goal", "met", "missed", "below goal", "reported"]


class Target(NamedTuple):
    """A ratio within one run; above 1 the contender is better than the baseline, whichever way the figure goes.

    `paired` takes the median of the ratios of each repetition instead of the ratio of the medians. Without `at_least`
    the ratio is only reported.
    """

    benchmark: str
    figure: str
    baseline: str
    at_least: float | None = None
    goal: float | None = None
    contender: str = PRODUCT
    paired: bool = False


class Limit(NamedTuple):
    """A bound on a figure's median in itself, where the promise is one to people."""

    benchmark: str
    figure: str
    at_most: float
    contender: str = PRODUCT


class Judged(NamedTuple):
    """A target, what came out, and whether that is enough."""

    target: Target
    ratio: Ratio
    verdict: Verdict

    @property
    def value(self) -> float:
        """The ratio that counts."""
        return counted(self.target, self.ratio)


class Bounded(NamedTuple):
    """A limit, and the median that came out."""

    limit: Limit
    median: float

    @property
    def verdict(self) -> Verdict:
        return "met" if self.median <= self.limit.at_most else "missed"


def counted(target: Target, found: Ratio) -> float:
    """Give the ratio that counts for a target."""
    return found.pairs.median if target.paired else found.of_medians


def judge(targets: Sequence[Target], outcomes: Sequence[Outcome]) -> Iterator[Judged]:
    """Give a verdict on each target whose benchmark was run."""
    measured = {outcome.name: outcome for outcome in outcomes}
    for target in targets:
        outcome = measured.get(target.benchmark)
        found = outcome and ratio(outcome.series, target.figure, target.contender, target.baseline)
        if found:
            yield Judged(target, found, _verdict(target, counted(target, found)))


def judge_limits(limits: Sequence[Limit], outcomes: Sequence[Outcome]) -> Iterator[Bounded]:
    """Give a verdict on each limit whose benchmark was run."""
    measured = {outcome.name: outcome for outcome in outcomes}
    for limit in limits:
        outcome = measured.get(limit.benchmark)
        if outcome and (values := values_of(outcome.series.get(limit.contender, ()), limit.figure)):
            yield Bounded(limit, spread(values).median)


def _verdict(target: Target, value: float) -> Verdict:
    if target.at_least is None and target.goal is None:
        return "reported"
    if target.goal is not None and value >= target.goal:
        return "goal"
    if target.at_least is None:
        return "below goal"
    return "met" if value >= target.at_least else "missed"
