"""What the documents show, and what a student's token may reach."""

import json

import aiohttp
import pytest
from tests.acceptance.system import System, path_of, token
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

# The bodies of the two documents of Canvas's Quiz Submission Events API, byte for byte.
DOCUMENTED_POST = b"""{
  "quiz_submission_events":
  [
    {
      "client_timestamp": "2014-10-08T19:29:58Z",
      "event_type": "question_answered",
      "event_data": {"answer": "42"}
    }, {
      "client_timestamp": "2014-10-08T19:30:17Z",
      "event_type": "question_flagged",
      "event_data": { "question_id": "1", "flagged": true }
    }
  ]
}"""
DOCUMENTED_GET = [
    {"id": "3409", "event_type": "page_blurred", "event_data": None, "created_at": "2014-11-16T13:37:21Z"},
    {"id": "3410", "event_type": "page_focused", "event_data": None, "created_at": "2014-11-16T13:37:27Z"},
]


def bearer(*scopes: str, **claims: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*scopes, **claims)}"}


async def post(client: aiohttp.ClientSession, system: System, submission: int, body: bytes) -> None:
    headers = {**bearer(POST_SCOPE), "Content-Type": "application/json"}
    async with client.post(system.gateway.url + path_of(submission), data=body, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def read_when_complete(client: aiohttp.ClientSession, system: System, submission: int, count: int) -> str:
    async def complete() -> str:
        async with client.get(system.reader.url + path_of(submission), headers=bearer(GET_SCOPE)) as answer:
            text = await answer.text()
        return text if len(json.loads(text)["quiz_submission_events"]) >= count else ""

    return await eventually(complete, 20)


async def test_the_documented_post_comes_back_with_data_and_times_as_sent(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    await post(client, shared_system, submission, DOCUMENTED_POST)
    text = await read_when_complete(client, shared_system, submission, 2)
    assert '"event_data":{"answer": "42"}' in text
    assert '"event_data":{ "question_id": "1", "flagged": true }' in text
    events = json.loads(text)["quiz_submission_events"]
    assert [(event["event_type"], event["created_at"]) for event in events] == [
        ("question_answered", "2014-10-08T19:29:58Z"),
        ("question_flagged", "2014-10-08T19:30:17Z"),
    ]


async def test_the_documented_answer_is_what_the_same_events_read_as(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    sent = [
        {"client_timestamp": event["created_at"], "event_type": event["event_type"], "event_data": event["event_data"]}
        for event in DOCUMENTED_GET
    ]
    await post(client, shared_system, submission, json.dumps({"quiz_submission_events": sent}).encode())
    events = json.loads(await read_when_complete(client, shared_system, submission, 2))["quiz_submission_events"]
    assert [set(event) for event in events] == [set(event) for event in DOCUMENTED_GET]
    for event, documented in zip(events, DOCUMENTED_GET, strict=True):
        assert event["id"].isdecimal()
        assert {**event, "id": documented["id"]} == documented


def bound_to(submission: int) -> dict[str, int]:
    return {"course_id": 1, "quiz_id": 2, "submission_id": submission}


@pytest.mark.parametrize(
    "other", [{"course": 9}, {"quiz": 9}, {"submission": 8}], ids=["another course", "another quiz", "another student"]
)
async def test_a_students_token_reaches_nothing_but_the_own_submission(
    shared_system: System, submission: int, client: aiohttp.ClientSession, other: dict[str, int]
) -> None:
    path = path_of(**{"submission": submission, **other})
    body = b'{"quiz_submission_events":[{"event_type":"forged"}]}'
    headers = bearer(POST_SCOPE, GET_SCOPE, **bound_to(submission))
    async with client.post(shared_system.gateway.url + path, data=body, headers=headers) as answer:
        assert answer.status == 403
        assert (await answer.json())["errors"]
    for method in ("GET", "HEAD"):
        async with client.request(method, shared_system.reader.url + path, headers=headers) as answer:
            assert answer.status == 403
    await post(client, shared_system, submission, DOCUMENTED_POST)  # the next request works
    await read_when_complete(client, shared_system, submission, 2)
    async with client.get(shared_system.reader.url + path, headers=bearer(GET_SCOPE)) as answer:
        assert "forged" not in await answer.text()


async def test_a_students_token_cannot_open_another_attempt(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    body = b'{"quiz_submission_events":[{"event_type":"page_blurred"}],"attempt":9999}'
    url = shared_system.gateway.url + path_of(submission)
    headers = {**bearer(POST_SCOPE, **bound_to(submission)), "Content-Type": "application/json"}
    async with client.post(url, data=body, headers=headers) as answer:
        assert answer.status == 403
    async with client.get(shared_system.reader.url + path_of(submission), headers=bearer(GET_SCOPE)) as answer:
        assert "page_blurred" not in await answer.text()


EMPTY = b'{"quiz_submission_events":[]}'


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"{", {}, None, 400),
        (b"{}", {}, None, 400),
        (b'{"quiz_submission_events":7}', {}, None, 400),
        (b'{"quiz_submission_events":[7]}', {}, None, 422),
        (EMPTY, {}, path_of(0), 404),
        (EMPTY, {}, path_of(2**63), 404),
        (EMPTY, {"Authorization": ""}, None, 401),
        (EMPTY, {"Authorization": "Bearer nonsense"}, None, 401),
        (EMPTY, bearer(GET_SCOPE), None, 401),
        (EMPTY, {"Content-Type": "image/png"}, None, 415),
        (EMPTY, {}, "/nowhere", 404),
    ],
)
async def test_bad_input_is_told_in_the_agreed_shape_and_the_next_request_works(
    shared_system: System,
    submission: int,
    client: aiohttp.ClientSession,
    body: bytes,
    headers: dict[str, str],
    path: str | None,
    status: int,
) -> None:
    sent = {**bearer(POST_SCOPE), "Content-Type": "application/json", **headers}
    url = shared_system.gateway.url + (path or path_of(submission))
    async with client.post(url, data=body, headers=sent) as answer:
        assert answer.status == status
        for error in (await answer.json())["errors"]:
            assert error["message"]
            assert error["code"]
    await post(client, shared_system, submission, DOCUMENTED_POST)
    events = json.loads(await read_when_complete(client, shared_system, submission, 2))["quiz_submission_events"]
    assert len(events) == 2
