"""Who may: tokens of every kind and place, as both services take them."""

import gzip
import time
from collections.abc import Callable
from typing import Final

import pytest
from tests.acceptance import signed
from tests.acceptance.api import (
    BODY,
    EVENTS,
    FORM,
    JSON,
    MULTIPART,
    TEXT,
    SubmissionLog,
    body_of,
    encoded,
    parts,
    shown,
    urlencoded,
)
from tests.acceptance.system import SECRET, token
from tests.raw_http import Header, request

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

CHALLENGE: Final = 'Bearer realm="canvas-lms"'
SCOPES: Final = f"{POST_SCOPE} {GET_SCOPE}"

BELIEVED: Final[dict[str, Callable[[], str]]] = {
    "HS256": lambda: signed.signed(SECRET, "HS256"),
    "RS256": lambda: signed.signed(signed.RSA, "RS256"),
    "ES256": lambda: signed.signed(signed.EC, "ES256"),
    "EdDSA": lambda: signed.signed(signed.ED, "EdDSA"),
    "expired half a minute ago": lambda: signed.signed(SECRET, "HS256", exp=int(time.time()) - 30),
    "issued in half a minute": lambda: signed.signed(SECRET, "HS256", iat=int(time.time()) + 30),
    "one audience of several": lambda: signed.signed(SECRET, "HS256", aud=["other", "quizstream"]),
    "other scopes beside": lambda: signed.signed(SECRET, "HS256", scope=f"url:GET|/x {SCOPES} openid"),
    "no subject": lambda: signed.signed(SECRET, "HS256", sub=None),
    "a global id": lambda: signed.signed(SECRET, "HS256", course_id="00001", quiz_id=2),
}


@pytest.mark.parametrize("make", BELIEVED.values(), ids=BELIEVED.keys())
async def test_a_good_token_may_post_and_read(own_log: SubmissionLog, make: Callable[[], str]) -> None:
    header = ("Authorization", f"Bearer {make()}")
    assert (await own_log.post(BODY, token=header)).status == 204
    await own_log.read(1)
    assert len(shown(await own_log.get(token=header))) == 1


REFUSED_TOKENS: Final[dict[str, tuple[Callable[[], str], str]]] = {
    "unsigned": (lambda: signed.forged("none", None), "token_algorithm"),
    "none in capitals": (lambda: signed.forged("NONE", None), "token_algorithm"),
    "the public key taken for a secret": (lambda: signed.forged("HS256", signed.RSA_PUBLIC_KEY), "token_signature"),
    "an empty secret": (lambda: signed.forged("HS256", b""), "token_signature"),
    "another algorithm of the secret": (lambda: signed.forged("HS512", SECRET.encode()), "token_algorithm"),
    "no signature": (lambda: signed.forged("HS256", None), "token_signature"),
    "another key": (lambda: signed.signed(signed.STRANGER, "RS256"), "token_signature"),
    "a key that the token brings along": (
        lambda: signed.signed(signed.STRANGER, "RS256", {"jku": "https://evil.example/keys", "jwk": {"kty": "RSA"}}),
        "token_signature",
    ),
    "expired": (lambda: signed.signed(SECRET, "HS256", exp=int(time.time()) - 61), "token_expired"),
    "for ever": (lambda: signed.signed(SECRET, "HS256", exp=None), "token_without_expiry"),
    "not yet valid": (lambda: signed.signed(SECRET, "HS256", nbf=int(time.time()) + 90), "token_not_yet_valid"),
    "another issuer": (lambda: signed.signed(SECRET, "HS256", iss="https://evil.example"), "token_issuer"),
    "no issuer": (lambda: signed.signed(SECRET, "HS256", iss=None), "token_issuer"),
    "another audience": (lambda: signed.signed(SECRET, "HS256", aud="other"), "token_audience"),
    "a course that is none": (lambda: signed.signed(SECRET, "HS256", course_id="x"), "claim_malformed"),
    "no token at all": (lambda: "nonsense", "token_malformed"),
}


@pytest.mark.parametrize(("make", "code"), REFUSED_TOKENS.values(), ids=REFUSED_TOKENS.keys())
async def test_a_bad_token_is_told_with_a_challenge_and_stores_nothing(
    own_log: SubmissionLog, make: Callable[[], str], code: str
) -> None:
    header = ("Authorization", f"Bearer {make()}")
    for answer in (await own_log.post(BODY, token=header), await own_log.get(token=header)):
        assert (answer.status, answer.code) == (401, code)
        assert answer.errors[0]["message"] == "Invalid access token."
        assert answer.headers["www-authenticate"] == CHALLENGE
    assert await own_log.is_empty()


@pytest.mark.parametrize("scope", ["", GET_SCOPE, POST_SCOPE.replace("POST", "post"), f"{POST_SCOPE}/", None])
async def test_a_token_without_the_scope_is_told_without_a_challenge(own_log: SubmissionLog, scope: str | None) -> None:
    header = ("Authorization", f"Bearer {signed.signed(SECRET, 'HS256', scope=scope)}")
    answer = await own_log.post(BODY, token=header)
    assert (answer.status, answer.errors[0]["message"]) == (401, "Insufficient scopes on access token.")
    assert "www-authenticate" not in answer.headers
    assert await own_log.is_empty()


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer  x", "Bearer a b", "Basic dTpw", "", "x"])
async def test_a_header_without_a_token_is_no_token(own_log: SubmissionLog, header: str) -> None:
    answer = await own_log.post(BODY, token=("Authorization", header))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, CHALLENGE)


async def beacon(log: SubmissionLog, body: bytes, kind: Header, query: str = "") -> int:
    return (await log.send(request("POST", log.path + query, [kind], body))).status


async def test_a_token_may_stand_in_the_body_or_in_the_query(own_log: SubmissionLog) -> None:
    own, pad = token(POST_SCOPE), b" " * (64 * 2**10)
    in_json = body_of(b'"json"', beside=b',"access_token":"%b"' % own.encode())
    assert await beacon(own_log, in_json, TEXT) == 204
    assert await beacon(own_log, in_json, JSON) == 204
    fields = [(f"{EVENTS}[]", "form"), ("access_token", own)]
    assert await beacon(own_log, urlencoded(fields), FORM) == 204
    assert await beacon(own_log, parts(*fields), MULTIPART) == 204
    assert await beacon(own_log, body_of(b'"query"'), TEXT, f"?access_token={own}") == 204
    assert await beacon(own_log, body_of(b'"large"') + pad, TEXT, f"?access_token={own}") == 204
    types = [event["event_type"] for event in shown(await own_log.read(6))]
    assert types == ["json", "json", "form", "form", "query", "large"]


async def test_the_token_of_the_body_goes_before_that_of_the_query(own_log: SubmissionLog) -> None:
    good, old, other = token(POST_SCOPE), signed.signed(SECRET, "HS256", exp=1), token(POST_SCOPE, submission_id=9)
    in_body = body_of(b'"a"', beside=b',"access_token":"%b"' % good.encode())
    for query in (old, other, "nonsense"):
        assert await beacon(own_log, in_body, TEXT, f"?access_token={query}") == 204
    await own_log.read(3)
    wrong = body_of(b'"b"', beside=b',"access_token":"%b"' % old.encode())
    assert await beacon(own_log, wrong, TEXT, f"?access_token={good}") == 401
    for body in (body_of(b'"c"'), b"{", body_of(b'"d"').ljust(2**17)):
        assert await beacon(own_log, body, TEXT, f"?access_token={old}") == 401
        assert await beacon(own_log, body, TEXT, f"?access_token={other}") == 403
    assert len(shown(await own_log.get())) == 3


async def test_of_several_tokens_in_the_query_the_last_one_counts(own_log: SubmissionLog) -> None:
    assert await beacon(own_log, BODY, TEXT, f"?access_token=x&access_token={token(POST_SCOPE)}") == 204
    assert await beacon(own_log, BODY, TEXT, f"?access_token={token(POST_SCOPE)}&access_token=x") == 401


async def test_a_large_body_is_not_read_for_the_token_in_it(own_log: SubmissionLog) -> None:
    in_json = body_of(b'"a"', beside=b',"access_token":"%b"' % token(POST_SCOPE).encode())
    assert await beacon(own_log, in_json.ljust(64 * 2**10), TEXT) == 204
    assert await beacon(own_log, in_json.ljust(64 * 2**10 + 1), TEXT) == 413
    packed = request("POST", own_log.path, [TEXT, encoded("gzip")], gzip.compress(in_json.ljust(2**20)))
    assert (await own_log.send(packed)).status == 413


async def test_who_names_no_token_is_told_that_before_anything_else(own_log: SubmissionLog) -> None:
    for body, kind in ((BODY, JSON), (b"{", JSON), (b"<a/>", ("Content-Type", "text/xml"))):
        answer = await own_log.send(request("POST", own_log.path, [kind], body))
        assert (answer.status, answer.code) == (401, "token_missing")
        assert answer.headers["www-authenticate"] == CHALLENGE


async def test_a_large_body_of_who_may_not_is_answered_and_not_cut_off(own_log: SubmissionLog) -> None:
    answer = await own_log.post(b" " * 2**23, token=("Authorization", "Bearer nonsense"))
    assert (answer.status, answer.code) == (401, "token_malformed")
