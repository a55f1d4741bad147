"""Bodies over real connections: whole or refused, within their bounds, and the refusal reaches the client."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat

import pytest
from aiohttp import web

from quizstream.contracts.errors import Refusal
from quizstream.gateway.read_body import BodyLimits, read_body

HOST = "127.0.0.1"
LIMITS = BodyLimits(body_bytes=100_000, progress_bytes=1_000, progress_seconds=30.0, total_seconds=600.0)
WAIT_SECONDS = 20.0


class Client:
    """A connection that sends exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            return int(status.split()[1]), headers, await self._reader.readexactly(int(headers["Content-Length"]))

    def reset(self) -> None:
        self._writer.transport.abort()


class Service:
    """A server of one handler, which keeps how each request ended."""

    def __init__(self, limits: BodyLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._started = asyncio.Event()
        self._ended: asyncio.Queue[str] = asyncio.Queue()

    async def has_started(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self._started.wait()

    async def end(self) -> str:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._ended.get()

    async def handle(self, request: web.Request) -> web.Response:
        self._started.set()
        try:
            body = await read_body(request, self._limits, self._clock)
        except Refusal as refusal:
            self._ended.put_nowait(refusal.code)
            return web.Response(status=refusal.status, text=refusal.code, headers=refusal.headers)
        self._ended.put_nowait("read")
        return web.Response(body=body)


def standing_clock() -> float:
    return 0.0


@asynccontextmanager
async def serving(
    limits: BodyLimits = LIMITS, clock: Callable[[], float] = standing_clock, *, lingering_seconds: float = 10.0
) -> AsyncIterator[tuple[Service, Client]]:
    service = Service(limits, clock)
    app = web.Application()
    app.router.add_post("/", service.handle)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, lingering_time=lingering_seconds)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        yield service, Client(reader, writer)
    finally:
        writer.close()
        await runner.cleanup()


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def sized(body: bytes, *lines: str) -> bytes:
    return head(f"Content-Length: {len(body)}", *lines) + body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


@pytest.mark.parametrize(
    "request_bytes",
    [
        sized(b"abc"),
        head("Transfer-Encoding: chunked") + chunked(b"a", b"bc", b""),
        sized(gzip.compress(b"abc"), "Content-Encoding: gzip"),
        head("Transfer-Encoding: chunked", "Content-Encoding: gzip") + chunked(gzip.compress(b"abc"), b""),
        sized(gzip.compress(gzip.compress(b"abc")), "Content-Encoding: gzip", "Content-Encoding: gzip"),
        sized(b"abc", "Content-Encoding: identity"),
    ],
)
async def test_a_body_is_read_however_it_is_sent(request_bytes: bytes) -> None:
    async with serving() as (_, client):
        await client.send(request_bytes)
        status, _, body = await client.answer()
        assert (status, body) == (200, b"abc")


@pytest.mark.parametrize("lines", [[], ["Content-Encoding: gzip"], ["Content-Encoding: zstd"]])
async def test_no_body_is_an_empty_one(lines: list[str]) -> None:
    async with serving() as (_, client):
        await client.send(head("Content-Length: 0", *lines))
        status, _, body = await client.answer()
        assert (status, body) == (200, b"")


async def test_a_body_in_many_packets_is_whole() -> None:
    sent = bytes(range(256)) * 390
    async with serving() as (service, client):
        await client.send(head(f"Content-Length: {len(sent)}"))
        await service.has_started()
        for start in range(0, len(sent), 7_000):
            await client.send(sent[start : start + 7_000])
        assert (await client.answer())[2] == sent


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (sized(b"abc", "Content-Encoding: gzip"), 400, "compression_broken"),
        (sized(gzip.compress(b"abc")[:-1], "Content-Encoding: gzip"), 400, "compression_broken"),
        (sized(gzip.compress(b"abc") + b"x", "Content-Encoding: gzip"), 400, "compression_broken"),
        (sized(b"abc", "Content-Encoding: br"), 415, "content_encoding_unsupported"),
        (sized(gzip.compress(bytes(100_001)), "Content-Encoding: gzip"), 413, "body_too_large"),
        (head("Transfer-Encoding: chunked") + chunked(bytes(60_000), bytes(60_000), b""), 413, "body_too_large"),
        (sized(bytes(100_001)), 413, "body_too_large"),
    ],
)
async def test_a_body_that_cannot_be_had_is_refused_and_the_next_request_works(
    request_bytes: bytes, status: int, code: str
) -> None:
    async with serving() as (_, client):
        await client.send(request_bytes)
        refused, headers, body = await client.answer()
        assert (refused, body.decode()) == (status, code)
        assert ("Accept-Encoding" in headers) == (status == 415)
        await client.send(sized(b"next"))
        assert (await client.answer())[2] == b"next"


async def test_the_limit_itself_is_allowed() -> None:
    async with serving() as (_, client):
        await client.send(sized(gzip.compress(bytes(100_000)), "Content-Encoding: gzip"))
        assert len((await client.answer())[2]) == 100_000


async def test_a_length_over_the_limit_is_refused_before_anything_is_sent() -> None:
    async with serving() as (_, client):
        await client.send(head("Content-Length: 100001"))
        assert (await client.answer())[0] == 413
        await client.send(bytes(100_001) + sized(b"next"))
        assert (await client.answer())[2] == b"next"


async def test_a_client_that_sends_all_before_it_reads_sees_the_refusal() -> None:
    body = bytes(8_388_608)
    async with serving() as (_, client):
        await client.send(sized(body))
        assert (await client.answer())[0] == 413
        await client.send(sized(b"next"))
        assert (await client.answer())[2] == b"next"


async def test_a_body_that_stops_is_refused() -> None:
    limits = BodyLimits(body_bytes=100, progress_bytes=10, progress_seconds=0.05)
    async with serving(limits, lingering_seconds=0) as (_, client):
        await client.send(head("Content-Length: 10") + b"abc")
        status, _, body = await client.answer()
        assert (status, body) == (408, b"body_too_slow")


async def test_a_body_that_trickles_is_refused_once_a_stretch_is_overdue() -> None:
    # The clock of the server: its start twice, then 31 s later before the next bytes.
    times = chain([0.0, 0.0, 0.0, 31.0], repeat(31.0))
    async with serving(clock=lambda: next(times), lingering_seconds=0) as (service, client):
        await client.send(head("Content-Length: 2000") + b"a")
        await service.has_started()
        await client.send(b"b")
        assert (await client.answer())[0] == 408


def seconds_apart(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


async def test_a_slow_body_that_moves_is_read_to_its_end() -> None:
    # At most 5 looks at the clock for each 7,000 bytes, which last 7 stretches.
    times = seconds_apart(5.0)
    sent = bytes(35_000)
    async with serving(clock=lambda: next(times)) as (service, client):
        await client.send(head(f"Content-Length: {len(sent)}"))
        await service.has_started()
        for start in range(0, len(sent), 7_000):
            await client.send(sent[start : start + 7_000])
        assert (await client.answer())[0] == 200


async def test_a_body_that_moves_for_too_long_is_refused() -> None:
    limits = BodyLimits(body_bytes=100_000, progress_bytes=1, progress_seconds=30.0, total_seconds=10.0)
    times = seconds_apart(4.0)
    async with serving(limits, lambda: next(times)) as (service, client):
        await client.send(head("Content-Length: 30000"))
        await service.has_started()
        for _ in range(3):
            await client.send(bytes(10_000))
        assert (await client.answer())[0] == 408


@pytest.mark.parametrize(
    "sent", [head("Content-Length: 10") + b"abc", head("Transfer-Encoding: chunked") + b"a\r\nabc"]
)
async def test_a_client_that_goes_leaves_a_refusal(sent: bytes) -> None:
    async with serving() as (service, client):
        await client.send(sent)
        await service.has_started()
        client.reset()
        assert await service.end() == "body_incomplete"


async def test_a_broken_chunk_ends_with_the_time_for_progress() -> None:
    # aiohttp's parser in C forgets the body when its framing breaks, and tells nobody who is waiting for it.
    limits = BodyLimits(body_bytes=100, progress_bytes=10, progress_seconds=0.05)
    async with serving(limits, lingering_seconds=0) as (service, client):
        await client.send(head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        await service.has_started()
        await client.send(b"xyz\r\n")
        assert await service.end() == "body_too_slow"


def test_the_documented_limits_are_those_of_the_design() -> None:
    assert BodyLimits() == BodyLimits(16 * 2**20, 61_440, 30.0, 600.0)
