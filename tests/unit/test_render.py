from collections.abc import Sequence

import orjson
from hypothesis import given
from hypothesis import strategies as st

from quizstream.reader.render import EMPTY_ANSWER, frame_round

rounds = st.lists(st.lists(st.binary(min_size=1), min_size=1), min_size=1)


@given(rounds)
def test_the_parts_joined_are_the_events_in_one_array(contents: Sequence[Sequence[bytes]]) -> None:
    last = len(contents) - 1
    parts = [
        frame_round(b",".join(events), first=number == 0, last=number == last) for number, events in enumerate(contents)
    ]
    events = [event for round_ in contents for event in round_]
    assert b"".join(parts) == b'{"quiz_submission_events":[' + b",".join(events) + b"]}"


def test_an_empty_answer_has_an_empty_array() -> None:
    assert orjson.loads(EMPTY_ANSWER) == {"quiz_submission_events": []}
