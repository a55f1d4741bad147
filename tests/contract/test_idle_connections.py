"""Who connects and never finishes the head of a request does not hold the connection for ever."""

import asyncio
import time
from contextlib import suppress

import pytest
from aiohttp import web
from tests.raw_http import read_answer, request
from tests.waiting import scaled

from quizstream.runtime.web import Site, serving

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
