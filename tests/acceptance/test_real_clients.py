"""Clients as they are, unchanged: canvasapi, curl, and a page of another origin in a real browser."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import pytest
from aiohttp import web
from canvasapi import Canvas
from canvasapi.quiz import QuizSubmission, QuizSubmissionEvent
from canvasapi.util import combine_kwargs
from playwright.async_api import Error, Page, async_playwright
from tests.acceptance.api import Shown, SubmissionLog, body_of, shown, stored
from tests.acceptance.system import token
from tests.programs import require_program
from tests.waiting import scaled

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

plain_http = pytest.mark.filterwarnings("ignore:Canvas may respond unexpectedly")

DICTS: Final[list[dict[str, object]]] = [
    {
        "client_timestamp": "2020-03-01T09:30:00.001Z",
        "event_type": "question_answered",
        "event_data": [
            {"quiz_question_id": 1, "answer": "42 \u00e9 \U0001f600"},
            {"quiz_question_id": 2, "answer": "7"},
        ],
    },
    {
        "client_timestamp": "2020-03-01T09:30:00.002Z",
        "event_type": "question_flagged",
        "event_data": {"questionId": 1, "flagged": True},
    },
    {"client_timestamp": "2020-03-01T09:30:00.003Z", "event_type": "page_blurred"},
]


def canvas(url: str, scope: str) -> Canvas:
    return Canvas(url, token(scope))


def through_canvasapi(log: SubmissionLog, url: str, scope: str) -> QuizSubmission:
    requester = canvas(url, scope)._Canvas__requester
    return QuizSubmission(requester, {"id": log.submission, "quiz_id": 2, "course_id": 1})


@plain_http
async def test_canvasapi_submits_event_objects_which_it_sends_as_their_types(own_log: SubmissionLog) -> None:
    def submit() -> bool:
        student = through_canvasapi(own_log, own_log.system.gateway.url, POST_SCOPE)
        events = [QuizSubmissionEvent(student._requester, {"event_type": name}) for name in ("capi_a", "capi_b")]
        return bool(student.submit_events(events))

    assert await asyncio.to_thread(submit)
    assert await stored(own_log, 2) == [Shown("capi_a"), Shown("capi_b")]


@plain_http
@pytest.mark.parametrize("as_json", [False, True], ids=["form", "JSON"])
async def test_canvasapi_submits_dicts(own_log: SubmissionLog, *, as_json: bool) -> None:
    def submit() -> int:
        requester = canvas(own_log.system.gateway.url, POST_SCOPE)._Canvas__requester
        events = {"quiz_submission_events": DICTS}
        sent = {"json": events} if as_json else {"_kwargs": combine_kwargs(**events)}
        return int(requester.request("POST", own_log.path.removeprefix("/api/v1/"), **sent).status_code)

    assert await asyncio.to_thread(submit) == 204
    events = shown(await own_log.read(3))
    expected = DICTS if as_json else as_text(DICTS)
    assert [event["event_data"] for event in events] == [event.get("event_data") for event in expected]
    assert [event["event_type"] for event in events] == [event["event_type"] for event in DICTS]


def as_text(events: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Forms know nothing but text."""
    numbers = json.dumps(events).replace("1,", '"1",').replace("2,", '"2",').replace("true", '"true"')
    found: list[dict[str, object]] = json.loads(numbers)
    return found


@plain_http
@pytest.mark.parametrize("own_size", [{}, {"per_page": 7}], ids=["100 a page", "7 a page"])
async def test_canvasapi_reads_the_whole_log_over_several_pages(
    own_log: SubmissionLog, own_size: dict[str, int]
) -> None:
    elements = (
        b'{"event_type":"question_viewed","event_data":[%d],"client_timestamp":"2020-03-01T09:30:00.%03dZ"}' % (n, n)
        for n in range(250)
    )
    assert (await own_log.post(body_of(*elements))).status == 204
    await own_log.read(250, "?per_page=10000")

    def read() -> list[object]:
        teacher = through_canvasapi(own_log, own_log.system.reader.url, GET_SCOPE)
        return [event.event_data for event in teacher.get_submission_events(attempt=1, **own_size)]

    assert await asyncio.to_thread(read) == [[number] for number in range(250)]


async def printed_by(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await asyncio.wait_for(process.communicate(), scaled(20))
    assert process.returncode == 0
    return printed.decode()


CURL: Final[dict[str, Callable[[str, str], Sequence[str]]]] = {
    "a form": lambda name, value: ["--data-urlencode", f"{name}={value}"],
    "a multipart form": lambda name, value: ["--form-string", f"{name}={value}"],
}


@pytest.mark.parametrize("field", CURL.values(), ids=CURL.keys())
async def test_curl_posts_a_form_and_reads_the_log(
    own_log: SubmissionLog, field: Callable[[str, str], Sequence[str]]
) -> None:
    curl = [require_program("curl"), "--silent", "--header", f"Authorization: Bearer {token()}"]
    fields = [
        *field("quiz_submission_events[][client_timestamp]", "2020-03-01T09:30:00+01:00"),
        *field("quiz_submission_events[][event_type]", "question_flagged"),
        *field("quiz_submission_events[][event_data][question_id]", "\u00e9 & \U0001f600=%41+"),
    ]
    status = await printed_by(*curl, "--write-out", "%{http_code}", *fields, own_log.system.gateway.url + own_log.path)
    assert status == "204"
    await own_log.read(1)
    (event,) = json.loads(await printed_by(*curl, own_log.system.reader.url + own_log.path))["quiz_submission_events"]
    assert event == {
        "id": event["id"],
        "event_type": "question_flagged",
        "event_data": {"question_id": "\u00e9 & \U0001f600=%41+"},
        "created_at": "2020-03-01T08:30:00Z",
    }


QUIET_CHROMIUM: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


async def empty_page(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>A quiz</title>", content_type="text/html")


@pytest.fixture
async def quiz_site(page_port: int) -> AsyncIterator[int]:
    """A site that serves a page and nothing else; gives its port. By the name of `localhost` its origin is listed."""
    app = web.Application()
    app.router.add_get("/quiz", empty_page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", page_port).start()
        yield page_port
    finally:
        await runner.cleanup()


@pytest.fixture
async def page(quiz_site: int) -> AsyncIterator[Page]:
    """A student's tab with a quiz of a listed origin, in a browser with an empty profile."""
    program = require_program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET_CHROMIUM)
        try:
            opened = await browser.new_page()
            await opened.goto(f"http://localhost:{quiz_site}/quiz")
            yield opened
        finally:
            await browser.close()


POST_BY_FETCH: Final = """async ([url, token]) => {
    const answer = await fetch(url, {
        method: "POST",
        headers: {"Authorization": `Bearer ${token}`, "Content-Type": "application/json; charset=UTF-8"},
        body: JSON.stringify({quiz_submission_events: [{event_type: "by_fetch", event_data: ["\\ud83d"]}, 7]}),
    });
    return [answer.status, answer.headers.get("Quiz-Events-Quarantined")];
}"""

READ_BY_FETCH: Final = """async ([url, token]) => {
    const answer = await fetch(url, {headers: {"Authorization": `Bearer ${token}`}});
    const body = await answer.json();
    const headers = ["Link", "ETag"].map(name => answer.headers.get(name));
    return [answer.status, body.quiz_submission_events.map(event => event.event_type), ...headers];
}"""


async def test_a_page_of_a_listed_origin_posts_and_reads_by_fetch(own_log: SubmissionLog, page: Page) -> None:
    gateway, reader = own_log.system.gateway.url + own_log.path, own_log.system.reader.url + own_log.path
    assert await page.evaluate(POST_BY_FETCH, [gateway, token(POST_SCOPE)]) == [204, "1"]
    assert await stored(own_log, 1) == [Shown("by_fetch", b'["\\ud83d"]')]
    status, types, link, tag = await page.evaluate(READ_BY_FETCH, [reader, token(GET_SCOPE)])
    assert (status, types) == (200, ["by_fetch"])
    assert 'rel="current"' in link
    assert tag.startswith('W/"')


async def test_a_page_of_another_origin_can_neither_post_with_a_header_nor_read(
    own_log: SubmissionLog, page: Page, quiz_site: int
) -> None:
    await page.goto(f"http://127.0.0.1:{quiz_site}/quiz")
    for script, command in ((POST_BY_FETCH, own_log.system.gateway), (READ_BY_FETCH, own_log.system.reader)):
        with pytest.raises(Error, match="Failed to fetch"):
            await page.evaluate(script, [command.url + own_log.path, token()])
    assert await own_log.is_empty()


LEAVE_WITH_A_BEACON: Final = """([url, token, type]) => addEventListener("pagehide", () => {
    const body = JSON.stringify({
        quiz_submission_events: [{event_type: "by_beacon", event_data: "\\u00e9", client_timestamp: new Date()}],
        access_token: token,
    });
    navigator.sendBeacon(url, type ? new Blob([body], {type}) : body);
})"""


@pytest.mark.parametrize("kind", [None, "application/json"], ids=["text", "JSON, which asks first"])
async def test_a_page_that_is_left_sends_its_last_events_by_beacon(
    own_log: SubmissionLog, page: Page, kind: str | None
) -> None:
    url = own_log.system.gateway.url + own_log.path
    await page.evaluate(LEAVE_WITH_A_BEACON, [url, token(POST_SCOPE, submission_id=own_log.submission), kind])
    await page.goto("about:blank")
    (event,) = await stored(own_log, 1)
    assert event[:2] == ("by_beacon", '"\u00e9"'.encode())
