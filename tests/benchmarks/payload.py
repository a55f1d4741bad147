"""What browsers send: requests of students who take a quiz, as bytes with a place for the time of sending."""

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.acceptance.system import path_of, token
from tests.benchmarks.scene import ORIGIN

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

STAMP_BYTES = len("2026-11-22T09:41:07.1234")
_STAMP = "\x00"  # no JSON text and no header holds it
_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_ANSWERS = ('"8241"', '["8241","1173"]', '"It depends on the temperature."', "null")
_TYPES = ("question_viewed", "page_blurred", "question_answered", "page_focused", "question_flagged")


class Template(NamedTuple):
    """Requests that differ in their head, one for each submission; the time goes between the pieces of the body."""

    heads: list[str]
    body: list[str]


class Clock:
    """Times of sending in UTC, in tenths of milliseconds, each later than the one before; all of the same length."""

    def __init__(self) -> None:
        self._last = 0
        self._second = -1
        self._prefix = b""

    def next(self) -> bytes:
        """Give the time now, or one step after the last one given."""
        self._last = max(self._last + 1, int(time.time() * 10_000))
        second, fraction = divmod(self._last, 10_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode("ascii")
        return b"%b.%04d" % (self._prefix, fraction)


def posts(events: int, submissions: Sequence[int]) -> Template:
    """Requests to post `events` events, at most 100, each with a student's own token.

    An event's stamp ends in its place in the request, so no two events of a submission are equal.
    """
    body = f'{{"quiz_submission_events":[{",".join(_event(number) for number in range(events))}]}}'
    pieces = body.split(_STAMP)
    length = len(body.encode()) + (len(pieces) - 1) * (STAMP_BYTES - 1)
    return Template([_post_head(submission, length) for submission in submissions], pieces)


def gets(submissions: Sequence[int], query: str = "") -> Template:
    """Requests to read the log of each submission, with a teacher's token."""
    authorization = token(GET_SCOPE)
    return Template(
        [_head("GET", f"{path_of(submission)}{query}", authorization, []) for submission in submissions], [""]
    )


def _event(number: int) -> str:
    kind = _TYPES[number % len(_TYPES)]
    data = f'{{"quiz_question_id":"{41_000 + number}","answer":{_ANSWERS[number % len(_ANSWERS)]}}}'
    return (
        f'{{"client_timestamp":"{_STAMP}{number:02d}Z","event_type":{json.dumps(kind)},'
        f'"event_data":{data if kind.startswith("question") else "null"}}}'
    )


def _post_head(submission: int, length: int) -> str:
    bound = token(POST_SCOPE, sub=f"student-{submission}", course_id=1, quiz_id=2, submission_id=submission, attempt=1)
    headers = [f"Origin: {ORIGIN}", "Content-Type: application/json", f"Content-Length: {length}"]
    return _head("POST", path_of(submission), bound, headers)


def _head(method: str, target: str, authorization: str, headers: Sequence[str]) -> str:
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: quiz.example.edu",
        f"User-Agent: {_USER_AGENT}",
        "Accept: application/json+canvas-string-ids, application/json",
        "Accept-Language: en-GB,en;q=0.5",
        f"Authorization: Bearer {authorization}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""])
