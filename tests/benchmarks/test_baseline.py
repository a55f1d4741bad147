"""A stored ratio may get worse by so much and no more."""

from pathlib import Path

import pytest
from tests.benchmarks import baseline
from tests.benchmarks.baseline import Baseline, Kept, compare
from tests.benchmarks.series import costing, outcome
from tests.benchmarks.targets import Judged, Target, judge

TARGET = Target("post", "cpu_us", "bare", at_least=0.4)


def _judged(cost: float, target: Target = TARGET) -> list[Judged]:
    return list(judge([target], [outcome(target.benchmark, quizstream=costing(cost), bare=costing(50))]))


@pytest.mark.parametrize(("cost", "verdict"), [(100, "ok"), (132, "ok"), (135, "worse"), (81, "ok"), (79, "better")])
def test_a_ratio_that_fell_by_more_than_the_tolerance_is_worse(cost: float, verdict: str) -> None:
    stored = Baseline(0.25, [Kept("post", "cpu_us", "quizstream", "bare", 0.5)])
    (compared,) = compare(stored, _judged(cost))
    assert compared.verdict == verdict


def test_a_ratio_that_was_not_measured_is_missing() -> None:
    stored = Baseline(0.25, [Kept("post", "cpu_us", "quizstream", "somebody", 0.5)])
    (compared,) = compare(stored, _judged(100))
    assert compared.verdict == "missing"
    assert "not measured" in "\n".join(baseline.rows([compared], 0.25))


def test_the_comparison_says_which_ratio_got_worse() -> None:
    stored = Baseline(0.25, [Kept("post", "cpu_us", "quizstream", "bare", 0.5)])
    lines = list(baseline.rows(list(compare(stored, _judged(200))), stored.tolerance))
    assert any("worse" in line and "post" in line and "0.50 then, 0.25 now" in line for line in lines)


def test_storing_replaces_the_benchmarks_of_this_run_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline.write(_judged(100), path)
    baseline.write(_judged(50, TARGET._replace(benchmark="get")), path)
    baseline.write(_judged(200), path)
    assert {(one.benchmark, one.ratio) for one in baseline.read(path).ratios} == {("post", 0.25), ("get", 1.0)}


def test_only_what_has_a_target_to_meet_is_stored() -> None:
    assert baseline.guarded(_judged(100, TARGET._replace(at_least=None))) == []


def test_every_stored_ratio_is_one_of_a_target() -> None:
    from tests.benchmarks.parts import TARGETS  # noqa: PLC0415 - parts import everything

    known = {(one.benchmark, one.figure, one.contender, one.baseline) for one in TARGETS}
    for kept in baseline.read().ratios:
        assert (kept.benchmark, kept.figure, kept.contender, kept.baseline) in known
