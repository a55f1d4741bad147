"""The submissions that are reserved for canaries."""

import pytest

from quizstream.contracts.access import CANARY_SCOPE, GET_SCOPE, POST_SCOPE, check_scope, grant_from_claims
from quizstream.contracts.canaries import FIRST_RESERVED_ID, canary_resources, is_reserved
from quizstream.contracts.errors import ResourceRefused, UnknownResource
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.resources import IDS_PER_SHARD, MAX_ID, MAX_SHARD

CANARY = grant_from_claims({"scope": CANARY_SCOPE})


@pytest.mark.parametrize("partitions", [1, 2, 3, 12, 100, 4_093, 4_096])
def test_every_partition_has_a_reserved_submission(partitions: int) -> None:
    submissions = [resource.submission_id for resource in canary_resources(partitions)]
    assert [partition_of(submission, partitions) for submission in submissions] == list(range(partitions))
    assert all(FIRST_RESERVED_ID <= submission <= MAX_ID for submission in submissions)


def test_no_id_of_a_shard_is_reserved() -> None:
    assert not is_reserved((MAX_SHARD + 1) * IDS_PER_SHARD - 1)
    assert not is_reserved(FIRST_RESERVED_ID - 1)
    assert is_reserved(FIRST_RESERVED_ID)
    assert is_reserved(MAX_ID)


@pytest.mark.parametrize("bound", [{}, {"submission_id": MAX_ID}, {"submission_id": 7}])
@pytest.mark.parametrize("named", [str(MAX_ID), str(FIRST_RESERVED_ID), "self"])
def test_to_other_tokens_a_reserved_submission_is_unknown(bound: dict[str, object], named: str) -> None:
    if named == "self" and bound.get("submission_id") == 7:
        return
    grant = grant_from_claims({"scope": f"{POST_SCOPE} {GET_SCOPE}", **bound})
    with pytest.raises(UnknownResource):
        grant.resolve("1", "2", named)


def test_the_scope_of_canaries_opens_both_methods_of_reserved_submissions_and_no_others() -> None:
    check_scope(CANARY, "POST")
    check_scope(CANARY, "GET")
    assert CANARY.resolve("1", "2", str(FIRST_RESERVED_ID)).submission_id == FIRST_RESERVED_ID
    for grant in (CANARY, grant_from_claims({"scope": f"{POST_SCOPE} {CANARY_SCOPE} {GET_SCOPE}"})):
        with pytest.raises(ResourceRefused):
            grant.resolve("1", "2", "7")


def test_other_tokens_are_none_of_canaries() -> None:
    assert not grant_from_claims({"scope": f"{POST_SCOPE} {GET_SCOPE} {CANARY_SCOPE}s"}).is_canary
