"""Which attempt each event is filed under."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from quizstream.worker.event import Event


class Walked(NamedTuple):
    """The attempt of each event, in order, and the latest attempt of the submissions for which it grew."""

    attempts: list[int]
    grown: dict[bytes, int]


def walk(events: Iterable[Event], latest: Mapping[bytes, int]) -> Walked:
    """File events in the order of their records, starting from the stored latest attempts.

    An event that names its attempt raises the latest of its submission, re-deliveries included, so that the outcome
    is a function of the topic alone; one that names none belongs to the latest, or to attempt 1.
    """
    grown: dict[bytes, int] = {}
    current = dict(latest)
    attempts = []
    for event in events:
        known = current.get(event.submission_id, 0)
        attempt = event.attempt or known or 1
        if attempt > known:
            current[event.submission_id] = grown[event.submission_id] = attempt
        attempts.append(attempt)
    return Walked(attempts, grown)
