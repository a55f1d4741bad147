"""Which pages of other origins may call."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from quizstream.runtime.web import Site, serving

HOST = "127.0.0.1"
LISTED = "https://canvas.example.edu"
OTHER = "https://evil.example"
ALLOW_ORIGIN, ALLOW_CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


async def accept(_: web.Request) -> web.Response:
    return web.Response(status=204, headers={"Vary": "Accept"})


async def fail(_: web.Request) -> web.Response:
    raise LookupError


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"[]")
    return response


@asynccontextmanager
async def site(*origins: str) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/events", accept)
    app.router.add_get("/fail", fail)
    app.router.add_get("/stream", stream)
    async with serving(app, Site(HOST, 0, allowed_origins=origins)) as port:
        yield port


async def headers_of(
    port: int, method: str, path: str, origin: str | None, **more: str
) -> tuple[int, Mapping[str, str]]:
    sent = {**more, **({"Origin": origin} if origin else {})}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{HOST}:{port}{path}", headers=sent) as response,
    ):
        return response.status, response.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/events", 204),
        ("GET", "/stream", 200),
        ("GET", "/fail", 500),
        ("GET", "/unknown", 404),
        ("GET", "/events", 405),
    ],
)
async def test_a_listed_origin_may_read_every_answer_errors_too(method: str, path: str, status: int) -> None:
    async with site(LISTED) as port:
        answered, headers = await headers_of(port, method, path, LISTED)
    assert answered == status
    assert headers[ALLOW_ORIGIN] == LISTED
    assert headers[ALLOW_CREDENTIALS] == "true"
    assert headers["Access-Control-Expose-Headers"] == (
        "Link, ETag, Retry-After, Quiz-Events-Quarantined, Preference-Applied"
    )
    assert "Origin" in headers["Vary"]


@pytest.mark.parametrize("origin", [OTHER, "null", "*", LISTED.upper(), f"{LISTED}.evil.example", None])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_other_origins_get_no_permission(origin: str | None, method: str) -> None:
    async with site(LISTED, "null", "*") as port:
        _, headers = await headers_of(port, method, "/events", origin, **ASKED)
    assert not [name for name in headers if name.startswith("Access-Control-")]
    assert "Origin" in headers["Vary"]


async def test_a_preflight_is_answered_with_the_methods_of_the_route_and_kept() -> None:
    async with site(LISTED) as port:
        status, headers = await headers_of(port, "OPTIONS", "/events", LISTED, **ASKED)
    assert status == 204
    assert headers[ALLOW_ORIGIN] == LISTED
    assert headers[ALLOW_CREDENTIALS] == "true"
    assert headers["Access-Control-Allow-Methods"] == headers["Allow"] == "OPTIONS, POST"
    allowed = {name.strip().lower() for name in headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {"authorization", "content-type", "content-encoding", "prefer", "if-none-match"}
    assert int(headers["Access-Control-Max-Age"]) == 7_200


async def test_a_preflight_for_an_unknown_route_is_unknown() -> None:
    async with site(LISTED) as port:
        status, _ = await headers_of(port, "OPTIONS", "/unknown", LISTED, **ASKED)
    assert status == 404


async def test_vary_keeps_what_the_handler_named() -> None:
    async with site(LISTED) as port:
        _, headers = await headers_of(port, "POST", "/events", LISTED)
    assert headers["Vary"] == "Accept, Origin"


async def test_without_listed_origins_nothing_depends_on_the_origin() -> None:
    async with site() as port:
        _, headers = await headers_of(port, "POST", "/events", OTHER)
    assert ALLOW_ORIGIN not in headers
    assert headers["Vary"] == "Accept"
