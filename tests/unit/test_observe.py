"""What the worker tells of itself beside its counts: ages, offsets, upkeep."""

import time

import pytest

from quizstream.contracts.metrics import WORKER_METRICS
from quizstream.runtime.telemetry import Meters
from quizstream.worker.backlog import Unstored
from quizstream.worker.batch import TopicPartition
from quizstream.worker.observe import Observer
from quizstream.worker.store import Position, Written

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


class Observed:
    def __init__(self) -> None:
        self._meters = Meters(WORKER_METRICS)
        self.observer = Observer(self._meters)

    def value(self, name: str, **labels: str) -> float | None:
        return self._meters.registry.get_sample_value(name, labels)

    def age_seconds(self) -> float | None:
        return self.value("quizstream_oldest_unstored_event_age_seconds")

    def saw(self, **seconds_ago: float) -> None:
        """Records 5 of the partitions were appended so long ago and are not stored."""
        partitions = {"first": FIRST, "second": SECOND}
        self.observer.unstored_seen(
            {partitions[name]: Unstored(5, round(1000 * (time.time() - ago))) for name, ago in seconds_ago.items()}
        )

    def stored(self, partition: TopicPartition, next_offset: int) -> None:
        self.observer.flushed(Written({partition: next_offset}, {}, 1, 0, [], merged=False), 0.1)


def test_nothing_is_old_where_everything_is_stored() -> None:
    assert Observed().age_seconds() == 0


def test_the_oldest_of_all_partitions_counts_and_ages_by_itself() -> None:
    observed = Observed()
    observed.saw(first=20, second=100)
    assert observed.age_seconds() == pytest.approx(100, abs=5)
    before = time.time()
    while time.time() < before + 0.01:
        pass
    assert (observed.age_seconds() or 0) > 100


def test_what_is_stored_after_it_was_seen_does_not_count_any_more() -> None:
    observed = Observed()
    observed.saw(first=20, second=100)
    observed.stored(SECOND, 5)
    assert observed.age_seconds() == pytest.approx(100, abs=5)
    observed.stored(SECOND, 6)
    assert observed.age_seconds() == pytest.approx(20, abs=5)
    observed.stored(FIRST, 6)
    assert observed.age_seconds() == 0


def test_a_store_that_was_set_back_makes_it_count_again() -> None:
    observed = Observed()
    observed.stored(FIRST, 6)
    observed.saw(first=20)
    assert observed.age_seconds() == 0
    observed.observer.placed({FIRST: Position(5, None)})
    assert observed.age_seconds() == pytest.approx(20, abs=5)


def test_the_clock_of_a_broker_that_is_ahead_makes_no_negative_age() -> None:
    observed = Observed()
    observed.saw(first=-60)
    assert observed.age_seconds() == 0


def test_what_the_group_took_is_shown_until_partitions_are_placed_anew() -> None:
    observed = Observed()
    observed.observer.committed({FIRST: 7})
    assert observed.value("quizstream_committed_offset", topic="t", partition="0") == 7
    observed.observer.placed({})
    assert observed.value("quizstream_committed_offset", topic="t", partition="0") is None


def test_a_task_is_known_by_the_time_of_its_last_success() -> None:
    observed, before = Observed(), time.time()
    assert observed.value("quizstream_upkeep_done_timestamp_seconds", task="months") is None
    observed.observer.kept_up("months")
    assert (observed.value("quizstream_upkeep_done_timestamp_seconds", task="months") or 0) >= before
