"""What students send, made up: bursts of events of many submissions, of which some are sent again.

The same arguments give the same bursts, so that every contender gets the same work.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from quizstream.contracts.events import CapturedEvent, Origin
from quizstream.contracts.identity import identify
from quizstream.contracts.records import Record, RecordEncoder
from quizstream.contracts.resources import CourseId, QuizId, Resource, SubmissionId

FIRST_SUBMISSION = 40_000_000
EVENTS_PER_SECOND = 10_000  # by received_at; in the topic they lie as close as they can
LARGEST_BURST = 9  # five events on average
# A page that gets no answer sends the same again after 15 s.
REDELIVERED_WITHIN_EVENTS = 15 * EVENTS_PER_SECOND
_SEED = 20_261_121
_BEGUN_EARLIER = timedelta(hours=3)
_PAUSE_MILLISECONDS = (100, 1500)
_KINDS = (
    ("page_blurred", "null"),
    ("page_focused", "null"),
    ("question_viewed", '["{question}"]'),
    ("question_flagged", '{{"questionId":"{question}","flagged":true}}'),
    ("question_answered", '[{{"quiz_question_id":"{question}","answer":"4711"}}]'),
)


class Burst(NamedTuple):
    """The events of one request."""

    resource: Resource
    received_at: datetime
    events: Sequence[CapturedEvent]


def resource_of(submission: int) -> Resource:
    """A thousand students sit one quiz."""
    return Resource(CourseId(submission // 5000), QuizId(submission // 1000), SubmissionId(submission))


def bursts(submissions: int, begin: datetime, redelivered: float = 0.0) -> Iterator[Burst]:
    """Bursts without end, of so many submissions by chance; the share `redelivered` of them repeats earlier ones."""
    chance = random.Random(_SEED)
    clocks = [begin - _BEGUN_EARLIER] * submissions
    sent: deque[Burst] = deque(maxlen=REDELIVERED_WITHIN_EVENTS * 2 // (1 + LARGEST_BURST))
    now = begin
    while True:
        if sent and chance.random() < redelivered:
            burst = sent[chance.randrange(len(sent))]._replace(received_at=now)
        else:
            burst = _capture(chance, chance.randrange(submissions), clocks, now)
            sent.append(burst)
        yield burst
        now += timedelta(seconds=len(burst.events) / EVENTS_PER_SECOND)


def _capture(chance: random.Random, student: int, clocks: list[datetime], now: datetime) -> Burst:
    """What a student's page saw since its last burst: no two events of a submission have the same stamp."""
    events = []
    for _ in range(chance.randint(1, LARGEST_BURST)):
        clocks[student] += timedelta(milliseconds=chance.randint(*_PAUSE_MILLISECONDS))
        stamp = clocks[student].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event_type, data = _KINDS[chance.randrange(len(_KINDS))]
        events.append(CapturedEvent(event_type, stamp, data.format(question=chance.randrange(10**6)).encode()))
    return Burst(resource_of(FIRST_SUBMISSION + student), now, events)


def records(burst: Burst) -> list[Record]:
    """The records that the gateway makes of a burst."""
    encoder = RecordEncoder(Origin(burst.resource, None, burst.received_at, str(burst.resource.submission_id)))
    return [encoder.encode_event(event) for event in identify(burst.resource, burst.events, burst.received_at)]
