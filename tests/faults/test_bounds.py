"""What watches memory and descriptors sees what it must see, and nothing else: without processes."""

from tests.faults.bounds import MIB, SETTINGS, Sample, grown, leaks, memory_bound_bytes

BEFORE = {"gateway": 20, "worker-1": 30}
MARGINS = {"gateway": 5, "worker-1": 5, "reader": 13}


def test_what_is_given_back_is_no_leak() -> None:
    assert leaks(BEFORE, {"gateway": 25, "worker-1": 28, "reader": 40}, MARGINS) == []


def test_what_is_kept_is_a_leak() -> None:
    assert leaks(BEFORE, {"gateway": 26, "worker-1": 35}, MARGINS) == [
        "descriptors: gateway has 26, 20 before the faults"
    ]


def samples(resident_mib: list[int], descriptors: list[int]) -> list[Sample]:
    return [
        Sample(at, 1, mib * MIB, count) for at, (mib, count) in enumerate(zip(resident_mib, descriptors, strict=True))
    ]


def test_what_goes_up_and_comes_down_is_no_growth() -> None:
    assert grown("worker-1", samples([90, 95, 300, 310, 100, 104], [30, 31, 60, 60, 33, 32]), 5) == []


def test_what_does_not_come_down_is_growth() -> None:
    assert grown("worker-1", samples([90, 91, 95, 100, 120, 130], 6 * [30]), 5) == [
        "memory grows: worker-1 from 90 to 125 MiB"
    ]
    assert grown("worker-1", samples(6 * [90], [30, 30, 31, 34, 36, 38]), 5) == [
        "descriptors grow: worker-1 from 30 to 37"
    ]


def test_a_larger_budget_is_a_larger_bound() -> None:
    smaller = memory_bound_bytes("gateway", SETTINGS)
    larger = memory_bound_bytes("gateway", {**SETTINGS, "QUIZSTREAM_INFLIGHT_BYTES": str(128 * MIB)})
    assert larger - smaller >= 64 * MIB
