"""The guard against getting slower: ratios of an earlier run, and how much worse a new one may be."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from tests.benchmarks.targets import Judged

PATH = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.25  # of a ratio: medians of three short repetitions on a shared machine differ by up to a fifth


class Kept(msgspec.Struct, frozen=True):
    """A ratio of the earlier run."""

    benchmark: str
    figure: str
    contender: str
    baseline: str
    ratio: float


class Baseline(msgspec.Struct):
    """What is kept in the repository. Ratios may be compared over runs and machines; figures may not."""

    tolerance: float
    ratios: list[Kept]

    def of(self, benchmarks: Collection[str]) -> "Baseline":
        """Give what is kept of these benchmarks."""
        return Baseline(self.tolerance, [one for one in self.ratios if one.benchmark in benchmarks])


class Compared(NamedTuple):
    """A ratio then and now; None: it was not measured."""

    kept: Kept
    now: float | None
    verdict: Literal["ok", "better", "worse", "missing"]


def guarded(judged: Sequence[Judged]) -> list[Kept]:
    """Give the ratios to keep: those with a target to meet."""
    return [
        Kept(one.target.benchmark, one.target.figure, one.target.contender, one.target.baseline, round(one.value, 3))
        for one in judged
        if one.target.at_least is not None
    ]


def compare(baseline: Baseline, judged: Sequence[Judged]) -> Iterator[Compared]:
    """Hold every kept ratio against the new one."""
    now = {(one.target.benchmark, *one.target[1:3], one.target.contender): one.value for one in judged}
    for kept in baseline.ratios:
        value = now.get((kept.benchmark, kept.figure, kept.baseline, kept.contender))
        yield Compared(kept, value, _verdict(kept.ratio, value, baseline.tolerance))


def _verdict(then: float, now: float | None, tolerance: float) -> Literal["ok", "better", "worse", "missing"]:
    if now is None:
        return "missing"
    if now < then * (1 - tolerance):
        return "worse"
    return "better" if now > then * (1 + tolerance) else "ok"


def rows(compared: Sequence[Compared], tolerance: float) -> Iterator[str]:
    """Give the comparison as lines for people."""
    yield f"Ratios against the stored ones; more than {tolerance:.0%} worse fails."
    for kept, now, verdict in compared:
        shown = "not measured" if now is None else f"{now:.2f}"
        yield (
            f"{verdict:8}{kept.benchmark}: {kept.figure}, {kept.contender} : {kept.baseline}: "
            f"{kept.ratio:.2f} then, {shown} now"
        )


def read(path: Path = PATH) -> Baseline:
    """Read the stored ratios; none where nothing was stored yet."""
    if not path.exists():
        return Baseline(TOLERANCE, [])
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def write(judged: Sequence[Judged], path: Path = PATH) -> None:
    """Store the ratios of this run in place of those of the benchmarks it contains."""
    fresh = guarded(judged)
    measured = {kept.benchmark for kept in fresh}
    before = read(path)
    kept = [one for one in before.ratios if one.benchmark not in measured]
    stored = Baseline(before.tolerance, [*kept, *fresh])
    path.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")
