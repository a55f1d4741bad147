"""Every error has one shape, over real connections and byte by byte where a client would tidy up."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.raw_http import Answer, read_answer

from quizstream.contracts.errors import ErrorItem, TokenRefused, TryLater, UnusableEvents
from quizstream.contracts.metrics import (
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CLOSED,
    HTTP_METRICS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    HTTP_REQUESTS_RUNNING,
)
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.forwarded import PublicBase
from quizstream.runtime.health import Health
from quizstream.runtime.settings import HttpSettings
from quizstream.runtime.telemetry import Meters, configure_logging
from quizstream.runtime.web import HttpMeters, Site, serving

HOST = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def logging_configured() -> Iterator[None]:
    configure_logging("debug", "json")
    yield
    structlog.reset_defaults()


async def raw(port: int, sent: bytes) -> tuple[Answer, bytes]:
    """Send bytes, and give the first answer and what follows it until the server closes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(sent)
    answer = await read_answer(reader)
    writer.write_eof()
    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()
    return answer, rest


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def raising(error: Exception) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        raise error

    return handler


async def broken_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"quiz_submission_events":[')
    raise LookupError


def application() -> web.Application:
    app = web.Application()
    app.router.add_post("/echo/{id}", echo)
    app.router.add_get("/bug", raising(ValueError("the student's answer")))
    app.router.add_get("/later", raising(TryLater("kafka_unavailable", "Try later.", retry_after_seconds=5)))
    app.router.add_get("/token", raising(TokenRefused("token_expired")))
    app.router.add_get("/events", raising(UnusableEvents([ErrorItem("No type.", "event_type_missing", 3)], 1)))
    app.router.add_get("/large", raising(web.HTTPRequestEntityTooLarge(1, 2)))
    app.router.add_get("/moved", raising(web.HTTPFound("/echo/1")))
    app.router.add_get("/stream", broken_stream)
    return app


@asynccontextmanager
async def site(app: web.Application | None = None, **options: object) -> AsyncIterator[int]:
    made = Site(HOST, 0, **options)  # type: ignore[arg-type]  # options of each test
    async with serving(app or application(), made) as port:
        yield port


@asynccontextmanager
async def answered(port: int, path: str, method: str = "GET", **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{HOST}:{port}{path}", headers=sent, allow_redirects=False) as response,
    ):
        yield response


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/unknown", 404, "not_found"),
        ("/echo/1", 405, "method_not_allowed"),
        ("/later", 503, "kafka_unavailable"),
        ("/token", 401, "token_expired"),
        ("/events", 422, "events_unusable"),
        ("/large", 413, "body_too_large"),
        ("/bug", 500, "internal_error"),
    ],
)
async def test_every_error_is_json_with_message_and_code(path: str, status: int, code: str) -> None:
    async with site() as port, answered(port, path) as response:
        errors = (await response.json())["errors"]
        assert response.status == status
        assert response.content_type == "application/json"
        assert errors[0]["code"] == code
        assert errors[0]["message"]
        assert "index" not in errors[0]


async def test_an_error_about_an_element_has_its_index() -> None:
    async with site() as port, answered(port, "/events") as response:
        errors = (await response.json())["errors"]
        assert errors[1] == {"message": "No type.", "code": "event_type_missing", "index": 3}


async def test_the_headers_of_a_refusal_are_sent() -> None:
    async with site() as port:
        async with answered(port, "/later") as response:
            assert response.headers["Retry-After"] == "5"
        async with answered(port, "/token") as response:
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="canvas-lms"'
        async with answered(port, "/echo/1") as response:
            assert response.headers["Allow"] == "OPTIONS, POST"


async def test_who_asks_for_problem_details_gets_them_too() -> None:
    async with site() as port, answered(port, "/later", Accept="Application/Problem+JSON, */*") as response:
        problem = await response.json(content_type="application/problem+json")
        assert problem == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "Try later.",
            "errors": [{"message": "Try later.", "code": "kafka_unavailable"}],
        }


async def test_a_bug_quotes_nothing_and_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    async with site() as port, answered(port, "/bug") as response:
        assert "answer" not in await response.text()
        answered_id = response.headers["X-Request-Id"]
    line = next(line for line in capsys.readouterr().err.splitlines() if "request_failed" in line)
    assert "student" not in line
    assert json.loads(line)["request_id"] == answered_id
    assert json.loads(line)["exception"] == "ValueError"


async def test_a_redirection_is_no_error() -> None:
    async with site() as port, answered(port, "/moved") as response:
        assert (response.status, response.headers["Location"]) == (302, "/echo/1")


async def test_an_unsupported_expectation_has_the_shape_too() -> None:
    async with site() as port:
        answer, _ = await raw(port, b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.errors[0]["code"]) == (417, "expectation_failed")


PARSER_REFUSES = {
    "no HTTP at all": b"hello\r\n\r\n",
    "bad request line": b"GET\r\n\r\n",
    "bad version": b"GET / HTTP/9.x\r\n\r\n",
    "bad method": b"G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "header without colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "blank before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "control character in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    "two lengths": b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "negative length": b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("sent", PARSER_REFUSES.values(), ids=PARSER_REFUSES.keys())
async def test_what_the_parser_refuses_has_the_shape_and_ends_the_connection(sent: bytes) -> None:
    async with site() as port:
        answer, rest = await raw(port, sent)
    assert (answer.status, answer.errors[0]["code"]) == (400, "bad_request")
    assert answer.headers["content-type"].startswith("application/json")
    assert "x-request-id" in answer.headers
    assert rest == b""


OVERSIZED = {
    "request line": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 10_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", OVERSIZED.values(), ids=OVERSIZED.keys())
async def test_oversized_headers_are_named_as_such(sent: bytes) -> None:
    async with site() as port:
        answer, _ = await raw(port, sent)
    assert (answer.status, answer.errors[0]["code"]) == (431, "headers_too_large")


async def test_bad_chunks_are_answered_once_in_the_shape() -> None:
    head = b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with site() as port:
        answer, rest = await raw(port, head + b"5\r\nhello\r\nzz\r\n\r\n")
    assert (answer.status, answer.errors[0]["code"]) == (400, "bad_request")
    assert rest == b""


async def test_bad_chunks_after_good_ones_are_answered_once_too() -> None:
    async with site() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        async with answered(port, "/echo/1", "POST"):
            pass  # the server has read what came before
        writer.write(b"zz\r\n\r\n")
        answer = await read_answer(reader)
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()
    assert (answer.status, answer.errors[0]["code"]) == (400, "bad_request")
    assert rest == b""


async def test_a_pipelined_request_is_no_fault_of_the_one_before() -> None:
    one = b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    async with site() as port:
        first, rest = await raw(port, one + one)
    assert (first.status, first.body) == (200, b"hi")
    assert rest.endswith(b"hi")


async def test_the_next_request_works_after_each_refusal() -> None:
    async with site() as port:
        for sent in PARSER_REFUSES.values():
            await raw(port, sent)
        async with answered(port, "/echo/1", "POST") as response:
            assert response.status == 200


async def test_an_answer_that_breaks_off_is_never_ended_in_order() -> None:
    async with site() as port:
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
            async with answered(port, "/stream") as response:
                await response.read()


async def test_a_request_id_is_taken_when_sane_and_made_otherwise() -> None:
    async with site() as port:
        async with answered(port, "/echo/1", "POST", X_Request_Id="Abc-123") as response:
            assert response.headers["X-Request-Id"] == "Abc-123"
        for sent in ("a" * 65, "<script>", ""):
            async with answered(port, "/unknown", X_Request_Id=sent) as response:
                assert response.headers["X-Request-Id"] not in {sent, ""}


async def test_two_requests_have_two_ids() -> None:
    async with site() as port, answered(port, "/bug") as one, answered(port, "/bug") as other:
        assert one.headers["X-Request-Id"] != other.headers["X-Request-Id"]


def metered() -> tuple[HttpMeters, CollectorRegistry]:
    meters = Meters(HTTP_METRICS)
    made = HttpMeters(
        meters.counter(HTTP_REQUESTS),
        meters.histogram(HTTP_REQUEST_DURATION),
        meters.gauge(HTTP_REQUESTS_RUNNING),
        meters.gauge(HTTP_CONNECTIONS),
        meters.counter(HTTP_CONNECTIONS_CLOSED),
    )
    return made, meters.registry


async def test_requests_are_counted_by_template_and_known_methods_only() -> None:
    meters, registry = metered()
    async with site(meters=meters) as port:
        for path, method in (("/echo/1", "POST"), ("/echo/2", "POST"), ("/no/1", "GET"), ("/no/2", "PROPFIND")):
            async with answered(port, path, method):
                pass

    def count(route: str, method: str, status: str) -> float | None:
        labels = {"route": route, "method": method, "status": status}
        return registry.get_sample_value("quizstream_http_requests_total", labels)

    assert count("/echo/{id}", "POST", "200") == 2
    assert count("unmatched", "GET", "404") == 1
    assert count("unmatched", "other", "404") == 1
    timed = registry.get_sample_value(
        "quizstream_http_request_duration_seconds_count", {"route": "/echo/{id}", "method": "POST"}
    )
    assert timed == 2


async def test_a_request_whose_body_is_under_way_is_finished_at_the_stop() -> None:
    drained = asyncio.Event()
    async with site(on_drain=drained.set) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        await writer.drain()
        began = await asyncio.open_connection(HOST, port)
        began[1].write(b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await read_answer(began[0])  # the server has read what came before

        async def finish() -> Answer:
            await drained.wait()
            while True:  # until the site has stopped accepting
                try:
                    (await asyncio.open_connection(HOST, port))[1].close()
                except ConnectionRefusedError:
                    break
            writer.write(b"world")
            return await read_answer(reader)

        finished = asyncio.create_task(finish())
    answer = await finished
    assert (answer.status, answer.body) == (200, b"helloworld")
    assert answer.headers["connection"] == "close"
    began[1].close()
    writer.close()


async def test_a_request_that_does_not_finish_is_cut_off_at_the_deadline() -> None:
    async with site(finish_seconds=0.05) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        async with answered(port, "/echo/1", "POST"):
            pass
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await read_answer(reader)
    writer.close()


async def test_the_site_is_served_while_it_drains_and_asks_clients_to_leave() -> None:
    drained = asyncio.Event()
    async with site(on_drain=drained.set, drain_seconds=0.5) as port:

        async def late() -> str:
            await drained.wait()
            async with answered(port, "/echo/1", "POST") as response:
                return response.headers["Connection"]

        asked = asyncio.create_task(late())
    assert await asked == "close"


async def test_a_socket_that_never_finishes_its_headers_is_closed() -> None:
    async with site(keepalive_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST /echo/1 HTTP/1.1\r\nHost: x\r\nX-Slow:")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def bases(
    headers: Mapping[str, str], public_url: str | None = None, trusted: str | None = None
) -> tuple[int, str]:
    networks = HttpSettings.model_validate({"trusted_proxies": trusted or ()}).trusted_proxies
    base = PublicBase(public_url, networks)

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=base.of(request))

    app = web.Application()
    app.router.add_get("/", show)
    async with site(app) as port, answered(port, "/", **headers) as response:
        return response.status, await response.text()


FORWARDED = {"Host": "inner:8080", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example, quiz.example.edu"}


async def test_links_begin_with_the_host_that_was_asked() -> None:
    assert await bases({"Host": "quiz.example.edu:8443"}) == (200, "http://quiz.example.edu:8443")


async def test_forwarded_headers_count_from_trusted_proxies_only() -> None:
    assert await bases(FORWARDED) == (200, "http://inner:8080")
    assert await bases(FORWARDED, trusted="192.0.2.0/24") == (200, "http://inner:8080")
    assert await bases(FORWARDED, trusted="127.0.0.0/8") == (200, "https://quiz.example.edu")


async def test_the_configured_address_wins() -> None:
    assert await bases(FORWARDED, "https://q.example/x", "127.0.0.0/8") == (200, "https://q.example/x")


async def test_a_host_that_is_none_is_refused() -> None:
    status, body = await bases({"Host": "a>b"})
    assert status == 400
    assert "a>b" not in body


async def test_the_admin_port_tells_life_readiness_and_metrics() -> None:
    health, meters = Health(), Meters(HTTP_METRICS)
    async with serving_admin(HOST, 0, health, meters.registry) as port:
        async with answered(port, "/healthz") as response:
            assert response.status == 200
        async with answered(port, "/readyz") as response:
            assert (response.status, await response.json()) == (200, {"ready": True, "failing": []})
        async with answered(port, "/metrics") as response:
            assert "quizstream_http_requests_total" in await response.text()
        health.set_draining()
        async with answered(port, "/readyz") as response:
            assert (response.status, await response.json()) == (503, {"ready": False, "failing": [], "draining": True})
        async with answered(port, "/healthz") as response:
            assert response.status == 200
