"""Who connects and asks nothing, or never to the end, is in nobody's way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from tests.raw_http import read_answer, request
from tests.waiting import eventually, scaled

from quizstream.contracts.metrics import (
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CLOSED,
    HTTP_METRICS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    HTTP_REQUESTS_RUNNING,
)
from quizstream.runtime.descriptors import ensure_descriptors
from quizstream.runtime.telemetry import Meters
from quizstream.runtime.web import HttpMeters, Site, serving

HOST = "127.0.0.1"


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    return app


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
async def test_a_connection_without_a_whole_head_is_closed_in_time(begun: bytes) -> None:
    async with serving(application(), Site(HOST, 0, keepalive_seconds=0.1)) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(begun)
        async with asyncio.timeout(scaled(5)):
            assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("before", [b"", request("GET", "/")], ids=["at first", "after a request"])
async def test_more_of_a_head_buys_no_more_time(before: bytes) -> None:
    async with serving(application(), Site(HOST, 0, keepalive_seconds=0.3)) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        if before:
            writer.write(before)
            assert (await read_answer(reader)).body == b"hello"
        writer.write(b"GET / HTTP/1.1\r\n")
        began = time.monotonic()
        closed = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([closed], timeout=0.02))[0]:
            writer.write(b"A: b\r\n")
            assert time.monotonic() - began < scaled(5)
        with suppress(ConnectionResetError):  # bytes were on their way
            assert closed.result() == b""
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("before", [b"", request("GET", "/")], ids=["at first", "after a request"])
async def test_a_head_that_has_begun_has_less_time_than_a_connection_without_one(before: bytes) -> None:
    async with serving(application(), Site(HOST, 0, header_seconds=0.2)) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        if before:
            writer.write(before)
            assert (await read_answer(reader)).body == b"hello"
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(scaled(5)):
            assert await reader.read() == b""
        writer.close()


async def test_a_head_in_pieces_that_ends_in_time_is_answered_and_costs_later_ones_nothing() -> None:
    async with serving(application(), Site(HOST, 0, header_seconds=scaled(1))) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for pause_seconds in (0.0, scaled(0.7), scaled(0.7)):
            await asyncio.sleep(pause_seconds)
            for piece in (b"GET / HTT", b"P/1.1\r\nHost: x\r\n", b"\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.01)
            assert (await read_answer(reader)).body == b"hello"
        writer.close()


class Served:
    """A server with a bound on its connections, a path that answers when told, and what it counted."""

    def __init__(self) -> None:
        self.meters = Meters(HTTP_METRICS)
        self.may_answer = asyncio.Event()
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def wait(self, _: web.Request) -> web.Response:
        await self.may_answer.wait()
        return web.Response(text="at last")

    async def connect(self, sent: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self._writers.append(writer)
        writer.write(sent)
        return reader

    def closed(self, reason: str) -> float:
        name = "quizstream_http_connections_closed_total"
        return self.meters.registry.get_sample_value(name, {"reason": reason}) or 0.0

    def open(self) -> float | None:
        return self.meters.registry.get_sample_value("quizstream_http_connections")

    async def until_open(self, count: int) -> None:
        async def so() -> bool:
            return self.open() == count

        await eventually(so)

    async def until_running(self, count: int) -> None:
        async def so() -> bool:
            return self.meters.registry.get_sample_value("quizstream_http_requests_running") == count

        await eventually(so)

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def served(max_connections: int) -> AsyncIterator[Served]:
    made = Served()
    meters = HttpMeters(
        made.meters.counter(HTTP_REQUESTS),
        made.meters.histogram(HTTP_REQUEST_DURATION),
        made.meters.gauge(HTTP_REQUESTS_RUNNING),
        made.meters.gauge(HTTP_CONNECTIONS),
        made.meters.counter(HTTP_CONNECTIONS_CLOSED),
    )
    app = application()
    app.router.add_post("/", hello)
    app.router.add_get("/wait", made.wait)
    async with serving(app, Site(HOST, 0, meters=meters, max_connections=max_connections)) as made.port:
        yield made
        made.may_answer.set()
        made.leave()


async def test_a_post_is_answered_within_a_second_beside_two_thousand_idle_sockets() -> None:
    ensure_descriptors(4_200)  # both ends of each are in this process
    async with served(max_connections=500) as server:
        for _ in range(20):
            await asyncio.gather(*(server.connect() for _ in range(100)))
        await server.until_open(500)
        began = time.monotonic()
        reader = await server.connect(request("POST", "/", body=b"[]"))
        assert (await read_answer(reader)).status == 200
        assert time.monotonic() - began < scaled(1)
        assert server.open() == 500
        assert server.closed("idle") == 1_501


async def test_connections_that_are_kept_stay_while_others_have_never_asked() -> None:
    async with served(max_connections=4) as server:
        strangers = [await server.connect() for _ in range(2)]
        kept = await server.connect(request("GET", "/"))
        assert (await read_answer(kept)).body == b"hello"
        for _ in range(5):
            await server.connect()
        async with asyncio.timeout(scaled(5)):
            assert [await stranger.read() for stranger in strangers] == [b"", b""]
        server._writers[2].write(request("GET", "/"))
        assert (await read_answer(kept)).body == b"hello"


async def test_where_all_are_in_use_one_more_is_refused_and_nobody_is_cut_off() -> None:
    async with served(max_connections=3) as server:
        waiting = [await server.connect(request("GET", "/wait")) for _ in range(3)]
        await server.until_running(3)
        answer = await read_answer(await server.connect())
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "5", "close")
        assert json.loads(answer.body)["errors"][0]["code"] == "too_many_connections"
        assert (server.open(), server.closed("refused")) == (3, 1)
        server.may_answer.set()
        assert [(await read_answer(reader)).body for reader in waiting] == [b"at last"] * 3
        again = await server.connect(request("GET", "/"))
        assert (await read_answer(again)).body == b"hello"


async def test_connections_that_clients_close_are_not_counted_any_more() -> None:
    async with served(max_connections=10) as server:
        for _ in range(5):
            await server.connect(request("GET", "/"))
        await server.until_open(5)
        server.leave()
        await server.until_open(0)
