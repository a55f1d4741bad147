from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from quizstream.worker.months import last_of_run, month_of, months_ahead, months_between, partition_name


def test_months_reach_from_the_last_to_twelve_ahead_over_the_turn_of_the_year() -> None:
    names = [partition_name(month) for month in months_ahead(datetime(2026, 1, 31, 23, 59, tzinfo=UTC))]
    assert names[0] == "quiz_submission_events_2025_12"
    assert names[-1] == "quiz_submission_events_2027_01"
    assert len(names) == 14


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-30, 30))  # noqa: DTZ001
def test_a_month_later_and_the_same_earlier_is_the_same_month(naive: datetime, later: int) -> None:
    month = month_of(naive.replace(tzinfo=UTC))
    assert month_of(month_of(month, later), -later) == month


@given(st.integers(0, 30), st.integers(1, 10))
def test_months_ahead_are_counted_up_to_the_first_gap(there: int, behind_gap: int) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    months = [*range(-3, there), *range(there + 1, there + 1 + behind_gap)]
    last = last_of_run(now, {partition_name(month_of(now, later)) for later in months})
    assert (None if last is None else months_between(now, last)) == (there - 1 if there else None)
