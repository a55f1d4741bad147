"""Figures are compared by what is good about them."""

import math

import pytest
from tests.benchmarks.measurement import Measurement, more_is_better
from tests.benchmarks.series import costing
from tests.benchmarks.summary import Spread, percentile, percentiles, ratio, spread


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.0, 1), (1.0, 100)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_percentile_of_one_value_is_that_value_and_of_none_nothing() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert math.isnan(percentile([], 0.5))
    assert percentiles([]) == {}


def test_percentiles_do_not_depend_on_the_order_of_the_values() -> None:
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p90": 3.0, "p99": 3.0, "p99.9": 3.0, "max": 3.0}


def test_a_spread_is_least_median_and_most() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(1.0, 2.0, 5.0)


def test_half_the_cost_is_twice_as_good() -> None:
    found = ratio({"ours": costing(50, 40, 60), "theirs": costing(100, 90, 110)}, "cpu_us", "ours", "theirs")
    assert found
    assert found.of_medians == pytest.approx(2.0)
    assert found.pairs.least == pytest.approx(110 / 60)


def test_half_the_rate_is_half_as_good() -> None:
    slow, fast = Measurement(work=1_000, wall_seconds=2.0), Measurement(work=1_000, wall_seconds=1.0)
    found = ratio({"ours": [slow], "theirs": [fast]}, "per_second", "ours", "theirs")
    assert found
    assert found.of_medians == pytest.approx(0.5)


def test_a_ratio_of_pairs_divides_within_each_repetition() -> None:
    found = ratio({"ours": costing(100, 1_000, 100), "theirs": costing(100, 1_000, 50)}, "cpu_us", "ours", "theirs")
    assert found
    assert found.pairs == pytest.approx((0.5, 1.0, 1.0))


def test_what_was_not_measured_is_not_compared() -> None:
    without = [Measurement(work=1, wall_seconds=1.0)]
    assert ratio({"ours": costing(1), "theirs": without}, "cpu_us", "ours", "theirs") is None
    assert ratio({"ours": costing(1)}, "cpu_us", "ours", "theirs") is None


def test_only_rates_are_better_when_higher() -> None:
    assert more_is_better("per_second")
    assert not any(map(more_is_better, ("cpu_us", "p99_ms", "peak_mib", "cpu_us_kafka", "lag_events")))


def test_the_process_under_test_needs_no_name_and_others_have_theirs() -> None:
    figures = Measurement(work=10, wall_seconds=2.0, cpu_seconds={"server": 1e-3, "kafka": 2e-3}).figures()
    assert figures == pytest.approx({"per_second": 5.0, "cpu_us": 100.0, "cpu_us_kafka": 200.0})
