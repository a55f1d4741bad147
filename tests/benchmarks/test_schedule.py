"""Contenders take turns, and nobody always has the same place."""

from collections import Counter

import pytest
from tests.benchmarks.measurement import Benchmark, Measurement
from tests.benchmarks.schedule import in_turn, plan, run


async def _measured() -> Measurement:
    return Measurement(work=1, wall_seconds=1.0)


def _benchmark(name: str, *contenders: str, repetitions: int = 3) -> Benchmark:
    return Benchmark(name, "unit", dict.fromkeys(contenders, _measured), repetitions)


def test_a_repetition_has_every_contender_of_every_benchmark_once_before_the_next_begins() -> None:
    turns = plan([_benchmark("one", "a", "b"), _benchmark("two", "a", "b", "c")], None)
    assert [turn.repetition for turn in turns] == [0] * 5 + [1] * 5 + [2] * 5
    counted = Counter((turn.repetition, turn.benchmark.name, turn.contender) for turn in turns)
    assert len(counted) == len(turns)


def test_a_benchmark_may_need_more_repetitions_than_another() -> None:
    turns = plan([_benchmark("one", "a"), _benchmark("two", "b", repetitions=5)], None)
    assert Counter(turn.benchmark.name for turn in turns) == {"one": 3, "two": 5}


def test_one_number_of_repetitions_may_be_asked_for_of_all() -> None:
    turns = plan([_benchmark("one", "a"), _benchmark("two", "b", repetitions=5)], 4)
    assert Counter(turn.benchmark.name for turn in turns) == {"one": 4, "two": 4}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_nobody_always_comes_first_or_after_the_same_neighbour(count: int) -> None:
    orders = [in_turn(range(count), repetition) for repetition in range(2 * count)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert {order[0] for order in orders} == set(range(count))
    assert orders[0] == orders[1][::-1]


async def test_a_run_keeps_every_measurement_under_its_contender() -> None:
    (found,) = await run("part", [_benchmark("one", "a", "b")], 2)
    assert {contender: len(measured) for contender, measured in found.series.items()} == {"a": 2, "b": 2}
