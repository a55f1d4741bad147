"""GET, behaviour by behaviour, over sockets: what the reader's process answers about events that came by POST."""

import json
import re
from collections.abc import Sequence
from typing import Final

import pytest
from tests.acceptance import signed
from tests.acceptance.api import SubmissionLog, bearer, body_of, shown
from tests.acceptance.system import SECRET, path_of, token
from tests.raw_http import Answer, Header, exchange, request

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

BASE: Final = "http://quiz.example.edu"


async def filled(log: SubmissionLog, count: int, query: str = "") -> None:
    """Post so many events, `e0` and so on, in one second."""
    elements = (
        b'{"event_type":"e%d","event_data":[%d],"client_timestamp":"2020-03-01T09:30:00.%03dZ"}' % (n, n, n)
        for n in range(count)
    )
    assert (await log.post(body_of(*elements), query=query)).status == 204
    await log.read(count, "?per_page=10000")


def types(answer: Answer) -> list[int]:
    return [int(str(event["event_type"])[1:]) for event in shown(answer)]


def links(answer: Answer) -> dict[str, str]:
    return {name: url for url, name in re.findall(r'<([^>]*)>; rel="([a-z]+)"', answer.headers["link"])}


def query_of(url: str) -> str:
    return url[url.index("?") :]


async def test_an_event_has_exactly_the_documented_members_in_the_documented_form(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    answer = await own_log.get()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-cache"
    identity = re.fullmatch(
        rb'\{"quiz_submission_events":\[\{"id":"([1-9][0-9]*)","event_type":"e0","event_data":\[0\],'
        rb'"created_at":"2020-03-01T09:30:00Z"\}\]\}',
        answer.body,
    )
    assert identity, answer.body


INCLUDED: Final = {
    "client_timestamp": "2020-03-01T09:30:00.000Z",
    "received_at": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "attempt": 2,
}


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("?include[]=client_timestamp", ["client_timestamp"]),
        ("?include%5B%5D=received_at&include[]=attempt", ["received_at", "attempt"]),
        ("?include[]=attempt&include[]=nothing_known", ["attempt"]),
        ("?include[]=", []),
    ],
)
async def test_members_are_added_when_asked_for(own_log: SubmissionLog, query: str, members: Sequence[str]) -> None:
    await filled(own_log, 1, "?attempt=2")
    (event,) = shown(await own_log.get(query))
    assert list(event) == ["id", "event_type", "event_data", "created_at", *members]
    for name in members:
        expected = INCLUDED[name]
        assert expected.fullmatch(str(event[name])) if isinstance(expected, re.Pattern) else event[name] == expected


async def test_events_are_sorted_by_time_and_then_as_they_were_acknowledged(own_log: SubmissionLog) -> None:
    late = b'{"event_type":"e%d","client_timestamp":"2020-03-01T09:30:00.%03dZ"}'
    for number, milliseconds in enumerate((5, 3, 3, 900, 1)):
        assert (await own_log.post(body_of(late % (number, milliseconds)))).status == 204
    assert types(await own_log.read(5)) == [4, 1, 2, 0, 3]


PER_PAGE: Final = {
    "": 100,
    "?per_page=7": 7,
    "?per_page=10000": 120,
    "?per_page=10001": 120,
    "?per_page=99999999999999999999999": 120,
    "?per_page=0": 1,
    "?per_page=-5": 1,
    "?per_page=ten": 1,
    "?per_page=": 1,
    "?per_page=1.5": 1,
    "?per_page=%D9%A7": 1,
    "?per_page=2&attempt=1&per_page=50": 50,
    "?page=2&per_page=100": 20,
    "?page=2": 20,
    "?page=002": 20,
    "?page=1&page=2": 20,
    "?page=3": 0,
    "?page=99999999999999999999999": 0,
}

NOT_FOUND: Final = [
    "page=0", "page=-1", "page=x", "page=", "page=1.0", "page=%D9%A1", "attempt=0", "attempt=-1", "attempt=x",
    "attempt=", "attempt=10001", "attempt=1abc", "attempt=1.5", "attempt[]=1", "attempt=%D9%A1",
    "attempt=1&attempt=x", "as_of=x",
]  # fmt: skip


async def test_a_page_is_cut_as_asked_for_and_every_page_has_links(own_log: SubmissionLog) -> None:
    await filled(own_log, 120)
    for query, count in PER_PAGE.items():
        answer = await own_log.get(query)
        assert len(shown(answer)) == count, query
        assert links(answer).keys() >= {"current", "first", "last"}, query
    for query in NOT_FOUND:
        answer = await own_log.get(f"?{query}")
        assert (answer.status, answer.code) == (404, "not_found"), query


async def test_links_are_those_that_clients_of_canvas_cut_to_pieces(own_log: SubmissionLog) -> None:
    await filled(own_log, 5)
    known = token(GET_SCOPE)
    answer = await exchange(
        own_log.system.reader.url,
        request("GET", f"{own_log.path}?per_page=2&access_token={known}&page=2&include[]=attempt"),
    )
    assert known not in answer.headers["link"]
    found = re.fullmatch(r"(<[^>]*>; rel=\"[a-z]+\",?)+", answer.headers["link"])
    assert found
    assert list(links(answer)) == ["current", "next", "prev", "first", "last"]
    pages = {"current": 2, "next": 3, "prev": 1, "first": 1, "last": 3}
    prefix = f"{BASE}{own_log.path}?include%5B%5D=attempt&attempt=1&as_of="
    for name, page in pages.items():
        assert re.fullmatch(rf"{re.escape(prefix)}[0-9]+&page={page}&per_page=2", links(answer)[name])


async def test_following_next_gives_the_log_as_it_was_at_the_first_page(own_log: SubmissionLog) -> None:
    await filled(own_log, 10)
    answer = await own_log.get("?per_page=3")
    assert (
        await own_log.post(body_of(b'{"event_type":"e99","client_timestamp":"2019-01-01T00:00:00Z"}'))
    ).status == 204
    assert (await own_log.post(body_of(b'"e98"'), query="?attempt=2")).status == 204
    await own_log.read(1, "?attempt=2")
    seen = types(answer)
    while "next" in links(answer):
        answer = await own_log.get(query_of(links(answer)["next"]))
        seen += types(answer)
    assert seen == list(range(10))
    assert types(await own_log.get("?attempt=1&per_page=1")) == [99]


async def test_links_keep_to_the_form_of_the_path(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    for path in (f"{own_log.path}.json", f"{own_log.path}/", path_of(own_log.submission).replace("/1/", "/01/")):
        answer = await own_log.get(path=path)
        assert links(answer)["current"].startswith(f"{BASE}{path}?")


async def test_only_the_latest_attempt_is_shown_unless_another_is_asked_for(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    assert (await own_log.post(body_of(b'"e7"', b'"e8"'), query="?attempt=3")).status == 204
    await own_log.read(2)
    assert types(await own_log.get()) == types(await own_log.get("?attempt=3")) == [7, 8]
    assert types(await own_log.get("?attempt=1")) == [0]
    assert types(await own_log.get("?attempt=2&attempt=1")) == [0]
    assert types(await own_log.get("?attempt=2")) == types(await own_log.get("?attempt=10000")) == []


async def test_events_are_shown_under_the_course_and_quiz_they_came_under(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    elsewhere = [path_of(own_log.submission, course=9), path_of(own_log.submission, quiz=9), path_of(2**62)]
    for path in elsewhere:
        answer = await own_log.get(path=path)
        assert (answer.status, answer.body) == (200, b'{"quiz_submission_events":[]}')


async def test_a_page_is_not_sent_again_to_who_has_it_until_there_is_more(own_log: SubmissionLog) -> None:
    await filled(own_log, 2)
    first = await own_log.get()
    tag = first.headers["etag"]
    assert re.fullmatch(r'W/"[!-~]+"', tag)
    for sent in (tag, f'"other", {tag}', "*"):
        again = await own_log.get(headers=[("If-None-Match", sent)])
        assert (again.status, again.body) == (304, b"")
        names = ("etag", "link", "cache-control")
        assert [again.headers[name] for name in names] == [first.headers[name] for name in names]
    assert (await own_log.get(headers=[("If-None-Match", '"other"')])).body == first.body
    assert (await own_log.post(body_of(b'"e2"'))).status == 204
    await own_log.read(3)
    later = await own_log.get(headers=[("If-None-Match", tag)])
    assert (later.status, types(later)) == (200, [0, 1, 2])


async def test_a_head_is_a_get_without_its_body(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    got, head = await own_log.get(), await own_log.get(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("etag", "link", "cache-control", "content-type"):
        assert head.headers[name] == got.headers[name]
    missing = await own_log.get("?page=0", method="HEAD")
    assert (missing.status, missing.body) == (404, b"")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "application/json+canvas-string-ids",
        "application/problem+json",
        "text/html",
        "",
        "\xff",
    ],
)
async def test_what_a_client_accepts_changes_nothing_in_a_log(own_log: SubmissionLog, accept: str) -> None:
    await filled(own_log, 1)
    answer = await own_log.get(headers=[("Accept", accept)])
    assert answer.body == (await own_log.get()).body


async def test_a_log_of_many_rounds_is_whole(own_log: SubmissionLog) -> None:
    big = b'{"event_type":"e%d","event_data":"%b","client_timestamp":"2020-03-01T09:30:00.%03dZ"}'
    for number in range(6):
        assert (await own_log.post(body_of(big % (number, b"x" * 2**20, number)))).status == 204
    answer = await own_log.read(6)
    assert types(answer) == list(range(6))
    assert answer.headers["transfer-encoding"] == "chunked"


REFUSED: Final = {
    "another scope": (bearer(POST_SCOPE), 401, "insufficient_scope"),
    "another course": (bearer(GET_SCOPE, course_id=9), 403, "resource_forbidden"),
    "another quiz": (bearer(GET_SCOPE, quiz_id="9"), 403, "resource_forbidden"),
    "another submission": (bearer(GET_SCOPE, submission_id=999_999), 403, "resource_forbidden"),
    "another attempt": (bearer(GET_SCOPE, attempt=2), 403, "attempt_forbidden"),
    "nothing": (("Authorization", ""), 401, "token_missing"),
    "no bearer": (("Authorization", "Basic dTpw"), 401, "token_missing"),
    "two blanks": (("Authorization", "Bearer  x"), 401, "token_malformed"),
}


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_who_may_not_read_is_told_why_and_shown_nothing(
    own_log: SubmissionLog, sent: Header, status: int, code: str
) -> None:
    answer = await own_log.get("?attempt=1", token=sent)
    assert (answer.status, answer.code) == (status, code)
    assert ("www-authenticate" in answer.headers) == code.startswith("token_")
    head = await own_log.get("?attempt=1", token=sent, method="HEAD")
    assert (head.status, head.body) == (status, b"")


async def test_a_token_of_one_attempt_reads_that_one(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    assert (await own_log.post(body_of(b'"e5"'), query="?attempt=2")).status == 204
    await own_log.read(1, "?attempt=2")
    assert types(await own_log.get(token=bearer(GET_SCOPE, attempt=1))) == [0]
    assert types(await own_log.get("?attempt=1", token=bearer(GET_SCOPE, attempt="1"))) == [0]


async def test_the_token_of_the_header_goes_before_that_of_the_query(own_log: SubmissionLog) -> None:
    good, bad = token(GET_SCOPE), signed.forged("HS256", b"")
    query = "?access_token=%s"
    assert (await own_log.get(query % bad, token=("Authorization", f"Bearer {good}"))).status == 200
    assert (await own_log.get(query % good, token=("Authorization", f"Bearer {bad}"))).status == 401
    assert (await own_log.get(query % good, token=("X-Nothing", ""))).status == 200
    assert (await own_log.get(query % bad, token=("X-Nothing", ""))).status == 401


async def test_self_is_the_submission_of_the_token(own_log: SubmissionLog) -> None:
    await filled(own_log, 1)
    path = "/api/v1/courses/1/quizzes/2/submissions/self/events"
    own = bearer(GET_SCOPE, submission_id=str(own_log.submission))
    assert types(await own_log.get(path=path, token=own)) == [0]
    assert (await own_log.get(path=path)).status == 404


async def test_a_question_without_a_host_cannot_be_given_links(own_log: SubmissionLog) -> None:
    name, value = bearer(GET_SCOPE)
    for host in (b"", b"Host: a b\r\n", b"Host:\r\n", b'Host: x">\r\n', b"Host: a/b\r\n"):
        head = b"GET %b HTTP/1.1\r\n%b%b: %b\r\n\r\n" % (own_log.path.encode(), host, name.encode(), value.encode())
        answer = await exchange(own_log.system.reader.url, head)
        assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(
    "query", ["x=%0d%0aSet-Cookie:%20a=b", "x=%3E;%20rel=%22next%22", "x=%ff%00", 'x=">,<"', "%5B=%5D"]
)
async def test_no_parameter_breaks_out_of_a_link(own_log: SubmissionLog, query: str) -> None:
    answer = await own_log.get(f"?{query}")
    assert "set-cookie" not in answer.headers
    assert list(links(answer)) == ["current", "first", "last"]
    assert len(answer.headers["link"].split(",")) == 3


async def test_a_forwarded_host_of_who_is_not_trusted_does_not_count(own_log: SubmissionLog) -> None:
    answer = await own_log.get(headers=[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")])
    assert links(answer)["current"].startswith(f"{BASE}/")


async def test_pages_of_a_listed_origin_may_read_links_and_refusals_too(own_log: SubmissionLog, page_port: int) -> None:
    origin = ("Origin", f"http://localhost:{page_port}")
    for query, headers, status in (("", [], 200), ("", [("If-None-Match", "*")], 304), ("?page=0", [], 404)):
        answer = await own_log.get(query, [origin, *headers])
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == origin[1]
        assert {"Link", "ETag"} <= set(answer.headers["access-control-expose-headers"].split(", "))
        assert answer.headers["vary"] == "Origin"
        other = await own_log.get(query, [("Origin", "null"), *headers])
        assert (other.status, other.headers.get("access-control-allow-origin")) == (status, None)


async def test_an_error_is_a_problem_document_for_who_asks_for_one(own_log: SubmissionLog) -> None:
    answer = await own_log.get("?page=0", [("Accept", "application/problem+json")])
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["status"] == 404


async def test_an_expired_token_is_told_by_its_code(own_log: SubmissionLog) -> None:
    late = signed.signed(SECRET, "HS256", exp=1)
    answer = await own_log.get(token=("Authorization", f"Bearer {late}"))
    assert (answer.status, answer.code) == (401, "token_expired")
