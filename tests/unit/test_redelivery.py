from datetime import datetime, timedelta

import pytest
from tests.factories import NOW, stored_event

from quizstream.worker.event import from_stored
from quizstream.worker.redelivery import MergeChoice, RecentIds, filed_by_receipt


def test_a_bounded_memory_forgets_the_oldest() -> None:
    recent = RecentIds(capacity=2)
    ids = [b"%d" % number for number in range(9)]
    for number, key in enumerate(ids):
        recent.remember([key])
        remembered = set(recent.among(ids))
        assert remembered >= set(ids[max(0, number - 1) : number + 1])
        assert len(remembered) <= 4


@pytest.mark.parametrize(
    ("occurred_at", "client_timestamp", "expected"),
    [
        (NOW, "2026-11-21T19:24:17Z", True),
        (NOW, None, False),
        (NOW - timedelta(seconds=2), "2026-11-21T19:24:17Z", False),
        (NOW + timedelta(minutes=10), "2026-11-21T19:24:17Z", False),
        (NOW + timedelta(days=20), "2026-11-21T19:24:17Z", True),
    ],
)
def test_times_that_depend_on_the_receipt_are_told_apart(
    occurred_at: datetime, client_timestamp: str | None, *, expected: bool
) -> None:
    event = stored_event(occurred_at=occurred_at, received_at=NOW, client_timestamp=client_timestamp)
    assert filed_by_receipt(from_stored(event)) is expected


def test_copy_goes_straight_while_fewer_than_one_flush_in_three_meets_a_duplicate() -> None:
    choice = MergeChoice()
    seen = [choice.straight]
    for met in (True, False, False, False):
        choice.learn(met_duplicate=met)
        seen.append(choice.straight)
    assert seen == [True, False, False, False, True]
