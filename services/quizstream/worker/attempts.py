"""Which attempt each event is filed under."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from quizstream.contracts.records import StoredEvent


class Walked(NamedTuple):
    """The attempt of each event, in order, and the latest attempt of the submissions for which it grew."""

    attempts: list[int]
    grown: dict[int, int]


def walk(events: Iterable[StoredEvent], latest: Mapping[int, int]) -> Walked:
    """File events in the order of their records, starting from the stored latest attempts.

    An event that names its attempt raises the latest of its submission, re-deliveries included, so that the outcome
    is a function of the topic alone; one that names none belongs to the latest, or to attempt 1.
    """
    current = dict(latest)
    attempts = []
    for event in events:
        known = current.get(event.submission_id, 0)
        attempt = event.attempt or known or 1
        if attempt > known:
            current[event.submission_id] = attempt
        attempts.append(attempt)
    grown = {submission: attempt for submission, attempt in current.items() if attempt > latest.get(submission, 0)}
    return Walked(attempts, grown)
