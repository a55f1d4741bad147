from hypothesis import given
from hypothesis import strategies as st
from tests.factories import stored_event

from quizstream.worker.attempts import walk
from quizstream.worker.event import from_stored


def test_an_event_without_attempt_belongs_to_the_latest_or_to_the_first() -> None:
    events = [from_stored(stored_event()), from_stored(stored_event(submission_id=8))]
    assert walk(events, {b"8": 4}).attempts == [1, 4]


@given(st.lists(st.tuples(st.sampled_from([7, 8]), st.none() | st.integers(1, 5))), st.integers(0, 30))
def test_filing_does_not_depend_on_where_flushes_end(sent: list[tuple[int, int | None]], cut: int) -> None:
    events = [from_stored(stored_event(submission_id=submission, attempt=attempt)) for submission, attempt in sent]
    whole = walk(events, {})
    first = walk(events[:cut], {})
    second = walk(events[cut:], first.grown)
    assert whole.attempts == first.attempts + second.attempts
    assert whole.grown == first.grown | second.grown
