"""What a token's claims allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.access import (
    GET_SCOPE,
    MAX_ACTOR_CHARACTERS,
    POST_SCOPE,
    Grant,
    check_scope,
    decide_attempt,
    decide_read_attempt,
    grant_from_claims,
)
from quizstream.contracts.errors import ResourceRefused, ScopeRefused, TokenRefused, UnknownResource
from quizstream.contracts.resources import MAX_ATTEMPT, MAX_ID, Attempt, CourseId, QuizId, Resource, SubmissionId

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FREE = Grant(may_post=True, may_get=True)
STUDENT = FREE._replace(submission_id=SubmissionId(7))
RESOURCE = Resource(CourseId(1), QuizId(2), SubmissionId(7))


def test_each_scope_opens_its_own_method_only() -> None:
    poster, reader = grant_from_claims({"scope": POST_SCOPE}), grant_from_claims({"scope": GET_SCOPE})
    check_scope(poster, "POST")
    check_scope(reader, "GET")
    with pytest.raises(ScopeRefused):
        check_scope(poster, "GET")
    with pytest.raises(ScopeRefused):
        check_scope(reader, "POST")


def test_scopes_are_separated_by_blanks_and_others_do_not_disturb() -> None:
    grant = grant_from_claims({"scope": f"url:GET|/api/v1/courses {GET_SCOPE} {POST_SCOPE}"})
    assert (grant.may_post, grant.may_get) == (True, True)


@pytest.mark.parametrize("claims", [{}, {"scope": ""}, {"scope": POST_SCOPE[:-1]}, {"scope": f"{POST_SCOPE}s"}])
def test_a_token_without_the_whole_scope_may_nothing(claims: dict[str, object]) -> None:
    grant = grant_from_claims(claims)
    assert (grant.may_post, grant.may_get) == (False, False)


@pytest.mark.parametrize(("claim", "bound"), [(7, 7), ("7", 7), ("1~7", 10**13 + 7), (MAX_ID, MAX_ID)])
def test_ids_bind_as_number_text_or_shard_form(claim: object, bound: int) -> None:
    assert grant_from_claims({"submission_id": claim}).submission_id == bound


@given(st.sampled_from(["course_id", "quiz_id", "submission_id", "attempt"]), JSON_VALUES)
def test_a_binding_claim_binds_or_the_token_is_refused(name: str, value: object) -> None:
    try:
        grant = grant_from_claims({name: value})
    except TokenRefused:
        return
    bound = {
        "course_id": grant.course_id,
        "quiz_id": grant.quiz_id,
        "submission_id": grant.submission_id,
        "attempt": grant.attempt,
    }
    assert bound[name] is not None


@pytest.mark.parametrize("value", [None, True, 0, -1, 2**63, 1.0, "", "x", "٣", [7], {"id": 7}])
def test_a_malformed_binding_is_never_taken_for_none(value: object) -> None:
    for name in ("course_id", "quiz_id", "submission_id", "attempt"):
        with pytest.raises(TokenRefused):
            grant_from_claims({name: value})


def test_a_scope_that_is_no_text_is_refused() -> None:
    with pytest.raises(TokenRefused):
        grant_from_claims({"scope": [POST_SCOPE]})


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=600))
def test_an_actor_can_always_be_stored_and_keeps_its_other_characters(subject: str) -> None:
    actor = grant_from_claims({"sub": subject}).actor
    assert actor is not None
    actor.encode()
    assert "\0" not in actor
    assert len(actor) == min(len(subject), MAX_ACTOR_CHARACTERS)
    assert all(kept in (sent, "\ufffd") for kept, sent in zip(actor, subject, strict=False))


@pytest.mark.parametrize(("subject", "actor"), [(None, None), (42, "42"), ("", "")])
def test_a_subject_may_be_missing_or_a_number(subject: object, actor: str | None) -> None:
    assert grant_from_claims({"sub": subject}).actor == actor


@pytest.mark.parametrize("subject", [True, 1.5, ["x"], {}])
def test_a_subject_of_another_type_is_refused(subject: object) -> None:
    with pytest.raises(TokenRefused):
        grant_from_claims({"sub": subject})


def test_a_free_token_opens_every_resource() -> None:
    assert FREE.resolve("1", "2", "7") == RESOURCE


def test_self_is_the_submission_of_the_token_and_unknown_to_others() -> None:
    assert STUDENT.resolve("1", "2", "self") == RESOURCE
    with pytest.raises(UnknownResource):
        FREE.resolve("1", "2", "self")


@pytest.mark.parametrize(
    "grant",
    [
        FREE._replace(course_id=CourseId(9)),
        FREE._replace(quiz_id=QuizId(9)),
        FREE._replace(submission_id=SubmissionId(9)),
    ],
)
def test_a_bound_token_opens_nothing_else(grant: Grant) -> None:
    with pytest.raises(ResourceRefused):
        grant.resolve("1", "2", "7")


def test_a_shard_form_in_the_path_meets_the_same_id_in_the_token() -> None:
    bound = FREE._replace(submission_id=SubmissionId(10**13 + 7))
    assert bound.resolve("1", "2", "1~7").submission_id == 10**13 + 7


def test_a_path_that_names_nothing_is_unknown_before_it_is_forbidden() -> None:
    with pytest.raises(UnknownResource):
        FREE._replace(course_id=CourseId(9)).resolve("1", "2", "x")


def test_the_attempt_of_the_token_wins() -> None:
    bound = STUDENT._replace(attempt=Attempt(2))
    assert decide_attempt(bound, None) == 2
    assert decide_attempt(bound, Attempt(2)) == 2
    with pytest.raises(ResourceRefused):
        decide_attempt(bound, Attempt(3))


def test_a_students_own_token_cannot_open_an_attempt() -> None:
    assert decide_attempt(STUDENT, None) is None
    with pytest.raises(ResourceRefused):
        decide_attempt(STUDENT, Attempt(MAX_ATTEMPT - 1))


def test_another_token_names_the_attempt_it_posts_to() -> None:
    assert decide_attempt(FREE, Attempt(4)) == 4
    assert decide_attempt(FREE, None) is None


def test_reading_an_older_attempt_needs_no_claim_but_keeps_to_one() -> None:
    assert decide_read_attempt(STUDENT, Attempt(1)) == 1
    assert decide_read_attempt(STUDENT, None) is None
    bound = STUDENT._replace(attempt=Attempt(2))
    assert decide_read_attempt(bound, None) == 2
    with pytest.raises(ResourceRefused):
        decide_read_attempt(bound, Attempt(1))
