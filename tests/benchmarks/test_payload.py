"""What the generator sends is what the product takes."""

from datetime import UTC, datetime

import jwt
import pytest
from tests.acceptance.system import AUDIENCE, ISSUER, SECRET
from tests.benchmarks.payload import STAMP_BYTES, Clock, posts

from quizstream.contracts.access import Grant, grant_from_claims
from quizstream.contracts.identity import identify
from quizstream.contracts.resources import CourseId, QuizId, Resource, SubmissionId
from quizstream.gateway.content_type import parse_content_type
from quizstream.gateway.parse import parse

JSON = parse_content_type("application/json")
RESOURCE = Resource(CourseId(1), QuizId(2), SubmissionId(7))


def _bodies(events: int, count: int) -> list[bytes]:
    template, clock = posts(events, [7]), Clock()
    pieces = [piece.encode() for piece in template.body]
    return [clock.next().join(pieces) for _ in range(count)]


def _headers(head: str) -> dict[str, str]:
    lines = head.removesuffix("\r\n\r\n").split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def _grant(head: str) -> Grant:
    token = _headers(head)["Authorization"].removeprefix("Bearer ")
    claims: dict[str, object] = jwt.decode(token, SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)
    return grant_from_claims(claims)


@pytest.mark.parametrize("events", [1, 5, 20, 100])
def test_every_event_of_every_request_is_a_new_one(events: int) -> None:
    now = datetime.now(UTC)
    submissions = [parse(body, JSON) for body in _bodies(events, 50)]
    assert not any(one.unusable for one in submissions)
    assert [len(one.events) for one in submissions] == [events] * 50
    ids = [found.event_id for one in submissions for found in identify(RESOURCE, one.events, now)]
    assert len(set(ids)) == 50 * events


def test_events_happen_when_they_are_sent_one_after_the_other() -> None:
    before = datetime.now(UTC)
    (body,) = _bodies(5, 1)
    times = [found.occurred_at for found in identify(RESOURCE, parse(body, JSON).events, before)]
    assert all(abs((occurred - before).total_seconds()) < 60 for occurred in times)
    assert times == sorted(set(times))


@pytest.mark.parametrize("events", [1, 5, 20, 100])
def test_the_length_that_is_told_is_the_length_of_every_body(events: int) -> None:
    told = int(_headers(posts(events, [7]).heads[0])["Content-Length"])
    assert {len(body) for body in _bodies(events, 50)} == {told}


def test_a_request_is_as_large_as_those_of_the_measurements() -> None:
    assert 130 < len(_bodies(1, 1)[0]) < 200
    assert 2_200 < len(_bodies(20, 1)[0]) < 3_200


def test_every_student_has_a_token_that_is_good_for_one_submission() -> None:
    heads = posts(1, [7, 8]).heads
    assert [_grant(head).submission_id for head in heads] == [7, 8]
    assert all(_grant(head).may_post and not _grant(head).may_get for head in heads)
    assert _grant(heads[0]).resolve("1", "2", "7") == RESOURCE


def test_times_of_sending_ascend_and_have_one_length() -> None:
    clock = Clock()
    times = [clock.next() for _ in range(20_000)]  # more than there are tenths of milliseconds meanwhile
    assert times == sorted(set(times))
    assert {len(time) for time in times} == {STAMP_BYTES}
