"""The OpenAPI document knows every code, status and limit of the code, and both services can show it."""

import ast
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import validate
from tests import schemas

import quizstream
from quizstream.contracts import errors, openapi
from quizstream.contracts.error_codes import GET_CODES, OPTIONS_CODES, POST_CODES
from quizstream.contracts.openapi import openapi_document
from quizstream.gateway import content_codings, elements
from quizstream.reader import page_query
from quizstream.runtime import problems
from quizstream.runtime.documents import attach_documents, render_page
from quizstream.runtime.web import NO_ROOM, Site, serving

DOCUMENT = json.loads(json.dumps(openapi_document()))
PACKAGE = Path(quizstream.__file__).parent
RAISED_BY_NAME = {
    "BadBody": 400,
    "TokenRefused": 401,
    "TokenInvalid": 401,
    "ResourceRefused": 403,
    "UnknownResource": 404,
    "BodyTooSlow": 408,
    "BodyTooLarge": 413,
    "UnsupportedMedia": 415,
    "TryLater": 503,
}


def documented(*codes: Mapping[int, tuple[str, ...]]) -> set[tuple[int, str]]:
    return {(status, code) for each in codes for status, of_status in each.items() for code in of_status}


def codes_in_source(folder: str) -> Iterator[tuple[int, str]]:
    """What is raised in a part of the package, as far as the code is written where it is raised."""
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]) if (
                    name in RAISED_BY_NAME
                ):
                    yield RAISED_BY_NAME[name], code


def codes_without_words() -> set[tuple[int, str]]:
    """Codes of refusals that have only one."""
    refusals: list[errors.Refusal] = [
        errors.UnknownResource(),
        errors.UnusableEvents([], 0),
        errors.ScopeRefused(),
        errors.ResourceRefused(),
        errors.RateLimited(1.0),
    ]
    return {(refusal.status, refusal.code) for refusal in refusals}


def codes_of_server() -> set[tuple[int, str]]:
    """What is answered before any code of ours is asked."""
    no_room = (NO_ROOM.status, str(NO_ROOM.errors[0]["code"]))
    return {no_room, *((status, code) for status, (code, _) in problems._WORDS.items())}


def all_raised() -> set[tuple[int, str]]:
    everywhere = {pair for part in ("contracts", "runtime", "gateway", "reader") for pair in codes_in_source(part)}
    unusable = {(422, reason) for reason in elements.REASONS}
    return everywhere | unusable | codes_without_words() | codes_of_server()


def test_the_document_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_code_is_documented_and_every_documented_code_is_there() -> None:
    assert documented(POST_CODES, GET_CODES) == all_raised()


@pytest.mark.parametrize(("part", "codes"), [("gateway", POST_CODES), ("reader", GET_CODES)])
def test_each_service_documents_what_it_raises_itself(part: str, codes: Mapping[int, tuple[str, ...]]) -> None:
    assert set(codes_in_source(part)) <= documented(codes)
    assert set(codes_in_source("runtime")) <= documented(codes)


@pytest.mark.parametrize(
    ("method", "codes"), [("post", POST_CODES), ("get", GET_CODES), ("head", GET_CODES), ("options", OPTIONS_CODES)]
)
def test_every_status_has_its_codes_in_the_document(method: str, codes: Mapping[int, tuple[str, ...]]) -> None:
    responses = schemas.members(DOCUMENT, "paths", openapi.PATH, method, "responses")
    assert {status for status in responses if int(status) >= 400} == {str(status) for status in codes}
    for status, of_status in codes.items():
        assert schemas.member(responses, str(status), "x-codes") == list(of_status)


def test_the_document_has_the_methods_of_the_resource() -> None:
    item = schemas.members(DOCUMENT, "paths", openapi.PATH)
    assert sorted(name.upper() for name in item if name != "parameters") == ["GET", "HEAD", "OPTIONS", "POST"]


def test_the_documented_values_are_those_of_the_services() -> None:
    assert page_query.MEMBERS == openapi.INCLUDABLE
    assert ", ".join(openapi.CONTENT_CODINGS) == content_codings.ACCEPT_ENCODING


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an application that shows nothing but the document."""
    app = web.Application()
    attach_documents(app, openapi_document())
    async with (
        serving(app, Site("127.0.0.1", 0)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def test_the_document_is_served_to_everybody(client: aiohttp.ClientSession) -> None:
    async with client.get("/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == schemas.document("openapi.json")


async def test_the_page_needs_no_script_and_no_other_host(client: aiohttp.ClientSession) -> None:
    async with client.get("/docs") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        policy, page = answer.headers["Content-Security-Policy"], await answer.text()
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "<script" not in page
    assert re.findall(r'(?:href|src)="([^"]*)"', page) == ["/openapi.json"]


def test_the_page_says_what_the_document_says() -> None:
    page = unescape(render_page(DOCUMENT))
    said = [openapi.PATH, "Quiz-Events-Quarantined", "Retry-After", "access_token", "per_page", "multipart/form-data"]
    said += [code for _, code in documented(POST_CODES, GET_CODES)]
    assert [text for text in said if text not in page] == []


def test_no_text_of_the_document_becomes_markup() -> None:
    hostile = '<script>alert("1")</script>'
    page = render_page(
        {
            "info": {"title": hostile, "description": hostile},
            "paths": {hostile: {"get": {"summary": hostile, "responses": {hostile: {"x-codes": [hostile]}}}}},
            "components": {"schemas": {hostile: {"title": hostile}}},
        }
    )
    assert "<script" not in page
    assert 'alert("' not in page
