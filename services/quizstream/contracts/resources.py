"""Course, quiz and submission: whose events these are."""

import re
from functools import lru_cache
from typing import Final, NamedTuple, NewType

from quizstream.contracts.errors import UnknownResource

CourseId = NewType("CourseId", int)
QuizId = NewType("QuizId", int)
SubmissionId = NewType("SubmissionId", int)
Attempt = NewType("Attempt", int)

ROUTE: Final = "/api/v1/courses/:course_id/quizzes/:quiz_id/submissions/:id/events"
# The same for a router. A trailing slash and `.json` are accepted, as in Canvas.
ROUTE_PATTERN: Final = r"/api/v1/courses/{course_id}/quizzes/{quiz_id}/submissions/{id}/events{form:(\.json)?/?}"

MAX_ID: Final = 2**63 - 1  # PostgreSQL's bigint
MAX_ATTEMPT: Final = 10_000
IDS_PER_SHARD: Final = 10**13  # Canvas: a global id is shard * 10^13 + local id
MAX_SHARD: Final = 9_999

_PLAIN: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_SHARDED: Final = re.compile(r"([0-9]{1,4})~([0-9]{1,13})", re.ASCII)
_ATTEMPT: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


class Resource(NamedTuple):
    """What the path of a request names; one deployment is one id space."""

    course_id: CourseId
    quiz_id: QuizId
    submission_id: SubmissionId


@lru_cache(maxsize=16_384)  # 2 MB; few courses and quizzes are open at a time, and a page posts many times
def parse_id(text: str) -> int:
    """Give the canonical id of a path segment, 1..`MAX_ID`.

    Accepts decimal digits and Canvas's shard form (`1~123` is 10000000000123).

    Raises:
        UnknownResource: for anything else, as no such resource can exist.

    """
    if _PLAIN.fullmatch(text):
        number = int(text)
    elif sharded := _SHARDED.fullmatch(text):
        shard, local = int(sharded[1]), int(sharded[2])
        number = shard * IDS_PER_SHARD + local if 1 <= shard <= MAX_SHARD and local else 0
    else:
        number = 0
    if not 1 <= number <= MAX_ID:
        raise UnknownResource
    return number


def parse_attempt(text: str) -> Attempt | None:
    """Give the attempt that ASCII digits name, or None where they name none of 1..`MAX_ATTEMPT`."""
    if _ATTEMPT.fullmatch(text) and 1 <= int(text) <= MAX_ATTEMPT:
        return Attempt(int(text))
    return None
