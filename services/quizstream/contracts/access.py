"""What a token allows: the claims of a verified token and the resources they bind.

The checks stand in the order in which Canvas makes them: credentials, scope, path ids (404), then the right to this
very resource (403), so that a client is told the same as there.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from quizstream.contracts.canaries import is_reserved
from quizstream.contracts.errors import ResourceRefused, ScopeRefused, TokenRefused, UnknownResource
from quizstream.contracts.resources import (
    MAX_ATTEMPT,
    MAX_ID,
    ROUTE,
    Attempt,
    CourseId,
    QuizId,
    Resource,
    SubmissionId,
    parse_attempt,
    parse_id,
)

POST_SCOPE: Final = f"url:POST|{ROUTE}"
GET_SCOPE: Final = f"url:GET|{ROUTE}"  # HEAD counts as GET, as in Canvas
CANARY_SCOPE: Final = "quizstream:canary"
SELF: Final = "self"
MAX_ACTOR_CHARACTERS: Final = 255

# PostgreSQL's text cannot hold U+0000, and UTF-8 no surrogate; JSON can name both.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


class Grant(NamedTuple):
    """What one token allows. An id or attempt that is not None binds the token to it; `actor` is its `sub`.

    A canary's token allows both methods, of the submissions that are reserved for canaries and of no others.
    """

    may_post: bool
    may_get: bool
    course_id: CourseId | None = None
    quiz_id: QuizId | None = None
    submission_id: SubmissionId | None = None
    attempt: Attempt | None = None
    actor: str | None = None
    is_canary: bool = False

    def resolve(self, course: str, quiz: str, submission: str) -> Resource:
        """Give the resource that the segments of a path name; `self` is the token's own submission.

        Raises:
            UnknownResource: the segments name nothing, or `self` and the token is not bound to a submission, or what is
                reserved for canaries.
            ResourceRefused: the token is bound to another course, quiz or submission.

        """
        course_id, quiz_id = CourseId(parse_id(course)), QuizId(parse_id(quiz))
        resource = Resource(course_id, quiz_id, self._submission(submission))
        if is_reserved(resource.submission_id) is not self.is_canary:
            raise ResourceRefused if self.is_canary else UnknownResource
        for bound, named in zip((self.course_id, self.quiz_id, self.submission_id), resource, strict=True):
            if bound is not None and bound != named:
                raise ResourceRefused
        return resource

    def _submission(self, text: str) -> SubmissionId:
        if text != SELF:
            return SubmissionId(parse_id(text))
        if self.submission_id is None:
            raise UnknownResource
        return self.submission_id


def grant_from_claims(claims: Mapping[str, object]) -> Grant:
    """Read the claims of a verified token.

    Raises:
        TokenRefused: a claim that would bind or name somebody is malformed; it never counts as absent.

    """
    scopes = _scopes(claims)
    is_canary = CANARY_SCOPE in scopes
    course_id, quiz_id = _bound_id(claims, "course_id"), _bound_id(claims, "quiz_id")
    submission_id = _bound_id(claims, "submission_id")
    return Grant(
        may_post=is_canary or POST_SCOPE in scopes,
        may_get=is_canary or GET_SCOPE in scopes,
        course_id=None if course_id is None else CourseId(course_id),
        quiz_id=None if quiz_id is None else QuizId(quiz_id),
        submission_id=None if submission_id is None else SubmissionId(submission_id),
        attempt=_bound_attempt(claims),
        actor=_actor(claims),
        is_canary=is_canary,
    )


def check_scope(grant: Grant, method: Literal["POST", "GET"]) -> None:
    """Refuse a token without the scope of the method.

    Raises:
        ScopeRefused: it lacks the scope.

    """
    if not (grant.may_post if method == "POST" else grant.may_get):
        raise ScopeRefused


def decide_attempt(grant: Grant, requested: Attempt | None) -> Attempt | None:
    """Give the attempt that posted events belong to; None leaves it to the worker.

    A token bound to a submission cannot name one: a student could open attempt 9,999 and hide the log behind it.

    Raises:
        ResourceRefused: the request names an attempt that the token does not allow.

    """
    if requested is None or requested == grant.attempt:
        return grant.attempt
    if grant.attempt is not None or grant.submission_id is not None:
        raise ResourceRefused("attempt_forbidden")
    return requested


def decide_read_attempt(grant: Grant, requested: Attempt | None) -> Attempt | None:
    """Give the attempt whose events are read; None stands for the latest.

    Raises:
        ResourceRefused: the token is bound to another attempt.

    """
    if requested is None or grant.attempt is None or requested == grant.attempt:
        return grant.attempt if requested is None else requested
    raise ResourceRefused("attempt_forbidden")


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise TokenRefused("claim_malformed")
    return frozenset(scope.split(" "))


def _bound_id(claims: Mapping[str, object], name: str) -> int | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID:
        return value
    if isinstance(value, str):
        try:
            return parse_id(value)
        except UnknownResource:
            raise TokenRefused("claim_malformed") from None
    raise TokenRefused("claim_malformed")


def _bound_attempt(claims: Mapping[str, object]) -> Attempt | None:
    if "attempt" not in claims:
        return None
    value = claims["attempt"]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ATTEMPT:
        return Attempt(value)
    attempt = parse_attempt(value) if isinstance(value, str) else None
    if attempt is None:
        raise TokenRefused("claim_malformed")
    return attempt


def _actor(claims: Mapping[str, object]) -> str | None:
    subject = claims.get("sub")
    if subject is None:
        return None
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)  # RFC 7519 asks for text; issuers write the user's number
    if not isinstance(subject, str):
        raise TokenRefused("claim_malformed")
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", subject[:MAX_ACTOR_CHARACTERS])
