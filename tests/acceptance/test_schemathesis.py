"""Whatever is sent to the running services, they answer as `/openapi.json` says, and never 5xx.

Driven by Hypothesis alone, without Schemathesis's pytest plugin. Not asked is whether what the document does not allow
is refused: the API takes more than it documents on purpose, as Canvas does.
"""

import asyncio
import json

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests import schemas
from tests.acceptance.system import System, answers, path_of, token
from tests.schemas import Document
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE
from quizstream.contracts.openapi import PATH

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=80,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def authorizations() -> list[str]:
    """Fresh tokens; mostly one that may do all, so that most requests get as far as they can."""
    return [
        *[f"Bearer {token()}"] * 8,
        f"Bearer {token(POST_SCOPE)}",
        f"Bearer {token(GET_SCOPE)}",
        f"Bearer {token(submission_id='3')}",
        f"Bearer {token(attempt='x')}",
        "Bearer x.y.z",
        "Basic x",
    ]


def check_codes(operation: Document, status: int, body: bytes) -> None:
    """Every error carries a code that is documented for its status."""
    documented = schemas.member(operation, "responses", str(status), "x-codes")
    assert isinstance(documented, list)
    assert {item["code"] for item in json.loads(body)["errors"]} <= set(documented)


async def store_some(client: aiohttp.ClientSession, system: System, submission: int) -> None:
    """Give a submission a log to be read."""
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    body = (schemas.FOLDER / "examples/accepted/request/documented.json").read_bytes()
    async with client.post(system.gateway.url + path_of(submission), data=body, headers=headers) as answer:
        assert answer.status == 204

    async def readable() -> bool:
        async with client.get(system.reader.url + path_of(submission), headers=headers) as answer:
            return b'"42"' in await answer.read()

    await eventually(readable)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["documented", "other"])
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "OPTIONS"])
async def test_answers_are_as_documented(
    shared_system: System, submission: int, client: aiohttp.ClientSession, method: str, mode: GenerationMode
) -> None:
    await store_some(client, shared_system, submission)
    url = shared_system.gateway.url if method == "POST" else shared_system.reader.url
    expected = {"POST": 204, "GET": 200, "HEAD": 200, "OPTIONS": 204}[method]
    statuses = await asyncio.to_thread(answers_to_generated, url, submission, method, mode)
    assert mode == GenerationMode.NEGATIVE or expected in statuses  # of others it may be that none is served


def answers_to_generated(url: str, submission: int, method: str, mode: GenerationMode) -> set[int]:
    """Send requests that are made from the document, check each answer, and give the statuses."""
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operation = schemas.members(api.raw_schema, "paths", PATH, method.lower())
    statuses = set[int]()

    @BOUNDED
    @given(
        api[PATH][method].as_strategy(mode),
        st.booleans(),
        st.sampled_from(authorizations()),
        st.sampled_from([None, None, None, "identity", "gzip"]),
        st.sampled_from(["*/*", "application/problem+json"]),
    )
    def answered_as_documented(
        case: Case,  # type: ignore[type-arg]  # generic over what is no part of its API
        known: bool,
        authorization: str,
        coding: str | None,
        accept: str,
    ) -> None:
        if known:
            case.path_parameters.update(course_id="1", quiz_id="2", id=str(submission))
        case.headers.update({"Authorization": authorization, "Accept": accept})
        case.headers.pop("Content-Encoding", None)
        if coding is not None and method == "POST":
            case.headers["Content-Encoding"] = coding
        response = case.call_and_validate(checks=CHECKS)
        statuses.add(response.status_code)
        if response.status_code >= 400 and method != "HEAD":
            check_codes(operation, response.status_code, response.content)

    answered_as_documented()
    return statuses


def test_every_service_shows_the_same_document(shared_system: System) -> None:
    for command in (shared_system.gateway, shared_system.reader):
        api = schemathesis.openapi.from_url(f"{command.url}/openapi.json")
        assert api.raw_schema == schemas.document("openapi.json")
        assert answers(f"{command.url}/docs")
