"""Canaries: events of the operator that go the whole way of an event, so that its time and its end can be measured.

They belong to submissions that no learning platform has: the last 2^17 ids. Ids of shards end at 9,999 * 10^13 + 10^13,
a hundredth of that. Other tokens are told that these submissions do not exist, and the type of their records tells
consumers to skip them.
"""

from typing import Final

from quizstream.contracts.partitions import partition_of
from quizstream.contracts.resources import MAX_ID, CourseId, QuizId, Resource, SubmissionId

# Every one of up to 4,096 partitions must have one. By chance a partition has 32 of them; that none is without one, for
# any number of partitions, was counted.
RESERVED_IDS: Final = 2**17
FIRST_RESERVED_ID: Final = MAX_ID + 1 - RESERVED_IDS
# They are rows like others until then, and the log of a canary's submission stays short.
KEPT_SECONDS: Final = 86_400


def is_reserved(submission_id: int) -> bool:
    """Tell whether a submission is one of canaries."""
    return submission_id >= FIRST_RESERVED_ID


def canary_resources(partitions: int) -> tuple[Resource, ...]:
    """Give one reserved submission for each partition, at its index; its course and quiz have the same id."""
    found: dict[int, int] = {}
    number = FIRST_RESERVED_ID
    while len(found) < partitions:
        found.setdefault(partition_of(number, partitions), number)
        number += 1
    return tuple(_resource(found[partition]) for partition in range(partitions))


def _resource(number: int) -> Resource:
    return Resource(CourseId(number), QuizId(number), SubmissionId(number))
