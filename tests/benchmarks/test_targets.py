"""Targets are held against what was measured, and name what there is to measure."""

from pathlib import Path

import pytest
from tests.benchmarks import gateway, road
from tests.benchmarks.cores import share_out
from tests.benchmarks.measurement import Benchmark
from tests.benchmarks.scene import Scene, Service
from tests.benchmarks.series import costing, outcome
from tests.benchmarks.targets import Limit, Target, judge, judge_limits

MEASURED = outcome("post", quizstream=costing(100, 120, 90), bare=costing(50, 50, 50))


@pytest.mark.parametrize(
    ("at_least", "goal", "verdict"),
    [
        (0.4, 0.45, "goal"),
        (0.4, 0.6, "met"),
        (0.6, 0.7, "missed"),
        (0.6, None, "missed"),
        (0.4, None, "met"),
        (None, 0.6, "below goal"),
        (None, None, "reported"),
    ],
)
def test_a_ratio_is_judged_by_target_and_goal(at_least: float | None, goal: float | None, verdict: str) -> None:
    (judged,) = judge([Target("post", "cpu_us", "bare", at_least, goal)], [MEASURED])
    assert judged.value == pytest.approx(0.5)
    assert judged.verdict == verdict


def test_a_paired_target_counts_the_median_of_the_pairs() -> None:
    measured = outcome("post", quizstream=costing(100, 200, 300), bare=costing(10, 200, 300))
    of_medians, paired = judge(
        [Target("post", "cpu_us", "bare"), Target("post", "cpu_us", "bare", paired=True)], [measured]
    )
    assert of_medians.value == paired.value == pytest.approx(1.0)
    measured = outcome("post", quizstream=costing(100, 200, 300), bare=costing(300, 20, 30))
    (paired,) = judge([Target("post", "cpu_us", "bare", paired=True)], [measured])
    assert paired.value == pytest.approx(0.1)


def test_what_was_not_run_is_not_judged() -> None:
    assert not list(judge([Target("other", "cpu_us", "bare"), Target("post", "cpu_us", "nobody")], [MEASURED]))
    assert not list(judge_limits([Limit("other", "cpu_us", 1)], [MEASURED]))


@pytest.mark.parametrize(("at_most", "verdict"), [(100, "met"), (99, "missed")])
def test_a_limit_bounds_the_median(at_most: float, verdict: str) -> None:
    (bounded,) = judge_limits([Limit("post", "cpu_us", at_most)], [MEASURED])
    assert bounded.verdict == verdict


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene("127.0.0.1:1", "postgresql://127.0.0.1:1/none", share_out([0, 1]), tmp_path, quick=True)


@pytest.fixture
def gateway_benchmarks(scene: Scene) -> list[Benchmark]:
    contender = gateway.Contender(scene, Service("none", 1, 1), None)
    return gateway.benchmarks(contender, contender, contender)


def test_every_target_of_the_gateway_names_what_is_measured(gateway_benchmarks: list[Benchmark]) -> None:
    _require_named(gateway_benchmarks, gateway.TARGETS, ())


def test_every_target_of_the_road_names_what_is_measured(scene: Scene) -> None:
    _require_named(road.benchmarks(road.Road(scene)), road.TARGETS, road.LIMITS)


def test_the_tail_is_compared_in_five_pairs(gateway_benchmarks: list[Benchmark]) -> None:
    (paired,) = [target for target in gateway.TARGETS if target.paired]
    (measured,) = [one for one in gateway_benchmarks if one.name == paired.benchmark]
    assert measured.repetitions >= 5


def _require_named(benchmarks: list[Benchmark], targets: tuple[Target, ...], limits: tuple[Limit, ...]) -> None:
    contenders = {benchmark.name: set(benchmark.contenders) for benchmark in benchmarks}
    for target in targets:
        assert {target.contender, target.baseline} <= contenders[target.benchmark], target
    for limit in limits:
        assert limit.contender in contenders[limit.benchmark], limit
