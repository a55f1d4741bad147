"""Paths, methods, what is hardly HTTP, and pages of other origins: the edge of both services, byte by byte."""

import json
from typing import Final

import pytest
from tests.acceptance.api import (
    BODY,
    FORM,
    JSON,
    THE_EVENT,
    SubmissionLog,
    bearer,
    body_of,
    shown,
    stored,
)
from tests.acceptance.system import path_of
from tests.raw_http import request

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

ACCEPTED_PATHS: Final = ["{id}/events/", "{id}/events.json", "{id}/events.json/", "000{id}/events", "self/events"]


@pytest.mark.parametrize("form", ACCEPTED_PATHS)
async def test_a_path_may_be_written_in_the_ways_of_canvas(own_log: SubmissionLog, form: str) -> None:
    path = f"/api/v1/courses/1/quizzes/2/submissions/{form.format(id=own_log.submission)}"
    own = bearer(POST_SCOPE, GET_SCOPE, submission_id=own_log.submission)
    assert (await own_log.post(BODY, path=path, token=own)).status == 204
    await own_log.read(1)
    assert len(shown(await own_log.get(path=path, token=own))) == 1


async def test_a_shard_form_and_its_global_id_name_the_same(own_log: SubmissionLog) -> None:
    course, number = 9_999 * 10**13 + 1, own_log.submission
    sharded = f"/api/v1/courses/9999~1/quizzes/0001~0002/submissions/7~{number}/events"
    plain = path_of(7 * 10**13 + number, course=course, quiz=10**13 + 2)
    assert (await own_log.post(body_of(b'"sharded"'), path=sharded)).status == 204
    assert (await own_log.post(body_of(b'"plain"'), path=plain)).status == 204
    for path in (sharded, plain):
        await own_log.read(2, path=path)


async def test_the_largest_ids_are_ids(own_log: SubmissionLog) -> None:
    path = path_of(2**63 - 2**17 - 1, course=2**63 - 1, quiz=2**63 - 1)  # those above are reserved
    assert (await own_log.post(BODY, path=path)).status == 204
    await own_log.read(1, path=path)


UNKNOWN_IDS: Final = [
    "0", "-7", "+7", "7a", "7.0", "%20", "9223372036854775808", "10000000000000000000", "%D9%A7", "7%2F8", "7%2Fevents",
    "7%00", "0~7", "1~0", "10000~1", "1~", "~1", "1~2~3", "sis_user_id:7", "self",
]  # fmt: skip


@pytest.mark.parametrize("bad", UNKNOWN_IDS)
async def test_what_is_no_id_names_nothing(own_log: SubmissionLog, bad: str) -> None:
    for path in (
        f"/api/v1/courses/1/quizzes/2/submissions/{bad}/events",
        f"/api/v1/courses/1/quizzes/{bad}/submissions/{own_log.submission}/events",
        f"/api/v1/courses/{bad}/quizzes/2/submissions/{own_log.submission}/events",
    ):
        for answer in (await own_log.post(BODY, path=path), await own_log.get(path=path)):
            assert (answer.status, answer.code) == (404, "not_found")
            assert answer.errors[0]["message"] == "The specified resource does not exist."


UNKNOWN_ROUTES: Final = [
    "/", "//", "/api/v1", "/api/v1/courses/1/quizzes/2/submissions/7",
    "/api/v1/courses/1/quizzes/2/submissions//events",
    "/api/v1/courses/1/quizzes/2/submissions/7/events/8", "/api/v1/courses/1/quizzes/2/submissions/7/events.xml",
    "/API/v1/courses/1/quizzes/2/submissions/7/events", "//api/v1/courses/1/quizzes/2/submissions/7/events",
    "/api/v1/courses/1/quizzes/2/submissions/7%2Fevents", "/healthz", "/metrics", "/%ff", "/\xff", "/a%20b",
    "/../../etc/passwd", "/?x=%ff", "/;", "/[", "/%", "/%zz", "/#",
]  # fmt: skip


@pytest.mark.parametrize("target", UNKNOWN_ROUTES)
async def test_an_unknown_route_is_told_in_the_agreed_shape(own_log: SubmissionLog, target: str) -> None:
    for answer in (await own_log.post(BODY, path=target), await own_log.get(path=target)):
        assert answer.status in ({400, 404} if "\xff" in target else {404}), answer
        assert answer.code in {"not_found", "bad_request"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_another_method_is_refused_with_those_that_there_are(own_log: SubmissionLog, method: str) -> None:
    answer = await own_log.send(request(method, own_log.path, [bearer(), JSON], BODY))
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) >= {"OPTIONS", "POST"}
    read = await own_log.get(method=method)
    assert (read.status, read.code) == (405, "method_not_allowed")
    assert set(read.headers["allow"].split(", ")) >= {"OPTIONS", "GET", "HEAD"}


HEAD: Final = b"POST %b HTTP/1.1\r\nHost: x\r\n"

PARSER_REFUSES: Final = {
    "no HTTP": (b"hello\r\n\r\n", 400, "bad_request"),
    "a request of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
    "another version": (b"GET / HTTP/3.9\r\n\r\n", 400, "bad_request"),
    "an invented method": (b"BLUR / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    "no colon": (HEAD % b"/" + b"nonsense\r\n\r\n", 400, "bad_request"),
    "a blank before the colon": (HEAD % b"/" + b"A : b\r\n\r\n", 400, "bad_request"),
    "a null byte": (HEAD % b"/" + b"A: b\x00\r\n\r\n", 400, "bad_request"),
    "a folded header": (HEAD % b"/" + b"A: b\r\n c\r\n\r\n", 400, "bad_request"),
    "two lengths": (HEAD % b"/" + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "bad_request"),
    "length and chunks": (
        HEAD % b"/" + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"
    ),
    "another transfer coding": (HEAD % b"/" + b"Transfer-Encoding: gzip\r\n\r\n", 400, "bad_request"),
    "a long request line": (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9_000), 431, "headers_too_large"),
    "a long header": (HEAD % b"/" + b"A: %b\r\n\r\n" % (b"a" * 9_000), 431, "headers_too_large"),
    "many headers": (HEAD % b"/" + b"A: b\r\n" * 200 + b"\r\n", 400, "bad_request"),
    "an expectation": (HEAD % b"/" + b"Expect: tea\r\nContent-Length: 0\r\n\r\n", 417, "expectation_failed"),
    "every host": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
    "a tunnel": (b"CONNECT example.edu:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "code"), PARSER_REFUSES.values(), ids=PARSER_REFUSES.keys())
async def test_what_is_no_request_is_told_in_the_agreed_shape_too(
    own_log: SubmissionLog, sent: bytes, status: int, code: str
) -> None:
    answer = await own_log.send(sent)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert await own_log.is_empty()


def whole(log: SubmissionLog, line: bytes, *lines: bytes, body: bytes = BODY) -> bytes:
    name, value = bearer(POST_SCOPE)
    sent = [
        line % log.path.encode(),
        b"Host: x",
        f"{name}: {value}".encode(),
        b"Content-Length: %d" % len(body),
        *lines,
    ]
    return b"\r\n".join([*sent, b"", body])


async def test_an_empty_line_behind_a_body_harms_nobody(own_log: SubmissionLog) -> None:
    assert (await own_log.send(whole(own_log, b"POST %b HTTP/1.1") + b"\r\n")).status == 204  # RFC 9112, section 2.2
    assert await stored(own_log, 1) == [THE_EVENT]


@pytest.mark.parametrize(
    "line", [b"POST %b HTTP/1.0", b"POST http://quiz.example.edu%b HTTP/1.1", b"POST %b?a=%%ff HTTP/1.1"]
)
async def test_a_request_may_be_written_in_other_ways(own_log: SubmissionLog, line: bytes) -> None:
    assert (await own_log.send(whole(own_log, line))).status == 204
    assert await stored(own_log, 1) == [THE_EVENT]


async def test_who_asks_whether_to_go_on_is_told_to(own_log: SubmissionLog) -> None:
    answer = await own_log.send(whole(own_log, b"POST %b HTTP/1.1", b"Expect: 100-continue"))
    assert answer.status == 100
    assert await stored(own_log, 1) == [THE_EVENT]


async def test_an_error_is_a_problem_document_for_who_asks_for_one(own_log: SubmissionLog) -> None:
    answer = await own_log.post(b"{", [JSON, ("Accept", "application/problem+json")])
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["title"], problem["type"]) == (400, "Bad Request", "about:blank")
    assert problem["errors"][0]["code"] == "json_malformed"


async def test_a_refusal_quotes_nothing_that_was_sent(own_log: SubmissionLog) -> None:
    secret = b"the_answer_of_a_student"
    for body, kind in (
        (b'{"quiz_submission_events":[{"%b":1}]}' % secret, JSON),
        (b'{"quiz_submission_events":"%b"}' % secret, JSON),
        (b'{"%b' % secret, JSON),
        (b"quiz_submission_events[][%b]=1" % secret, FORM),
        (BODY, ("Content-Type", f"text/{secret.decode()}")),
    ):
        answer = await own_log.post(body, [kind], query=f"?attempt={secret.decode()}")
        assert answer.status >= 400
        assert secret not in answer.body + str(answer.headers).encode()


ORIGIN_HEADERS: Final = {
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Link, ETag, Retry-After, Quiz-Events-Quarantined, Preference-Applied",
}


async def test_a_listed_origin_may_read_answers_and_refusals_and_others_none(
    own_log: SubmissionLog, page_port: int
) -> None:
    listed, other = f"http://localhost:{page_port}", f"http://127.0.0.1:{page_port}"
    for body, status in ((BODY, 204), (b"{", 400)):
        answer = await own_log.post(body, [JSON, ("Origin", listed)])
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == listed
        assert answer.headers.items() >= ORIGIN_HEADERS.items()
        assert answer.headers["vary"] == "Origin"
        for stranger in (other, "null", "*", listed.upper(), f"{listed}.evil.example"):
            refused = await own_log.post(body, [JSON, ("Origin", stranger)])
            assert refused.status == status
            assert not [name for name in refused.headers if name.startswith("access-control")]
            assert refused.headers["vary"] == "Origin"


async def test_a_preflight_is_answered_without_a_token_and_kept(own_log: SubmissionLog, page_port: int) -> None:
    asked = [
        ("Origin", f"http://localhost:{page_port}"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ]
    answer = await own_log.send(request("OPTIONS", own_log.path, asked))
    assert (answer.status, answer.headers["access-control-max-age"]) == (204, "7200")
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "content-encoding", "prefer"} <= set(allowed)
    other = await own_log.send(request("OPTIONS", own_log.path, [("Origin", "https://x.example"), *asked[1:]]))
    assert other.status == 204
    assert not [name for name in other.headers if name.startswith("access-control")]
