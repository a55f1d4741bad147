"""Clients of a gateway that are no students: broken, hostile, or in a hurry. They speak HTTP by hand."""

import asyncio
import contextlib
import gzip
import json
import math
import random
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.acceptance.system import path_of, token
from tests.faults.links import Link
from tests.faults.services import Service
from tests.waiting import eventually

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from quizstream.contracts.access import POST_SCOPE
from quizstream.local.ports import LOOPBACK

VISITOR = 999_999  # a submission of which nothing is ever stored


def head(submission: int = VISITOR, *lines: str) -> bytes:
    """The head of a request that may post, without its end."""
    fields = [f"POST {path_of(submission)} HTTP/1.1", "Host: x", f"Authorization: Bearer {token(POST_SCOPE)}", *lines]
    return "".join(f"{field}\r\n" for field in fields).encode()


async def connected(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the API of a gateway."""
    return await asyncio.open_connection(LOOPBACK, urlsplit(service.url).port)


@asynccontextmanager
async def held(writers: Sequence[asyncio.StreamWriter]) -> AsyncIterator[None]:
    """Keep connections until the end of the body."""
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def break_off(gateways: Sequence[Service], chance: random.Random, count: int) -> AsyncIterator[None]:
    """So many clients go away in the headers, in the body, or before the answer; half of them only fall silent."""
    first = f"POST {path_of(VISITOR)} HTTP/1.1\r\nHost: x\r\n".encode()
    length = head(VISITOR, "Content-Length: 1000", "Content-Type: application/json")
    starts = (b"", first, head(), length + b'\r\n{"quiz_submission_events":[')
    silent: list[asyncio.StreamWriter] = []
    async with held(silent):
        for number in range(count):
            with contextlib.suppress(OSError):
                _, writer = await connected(chance.choice(gateways))
                writer.write(starts[number % len(starts)])
                if chance.random() < 0.5:
                    writer.transport.abort()
                else:
                    silent.append(writer)
        yield


@dataclass
class Front:
    """A link before a gateway: whoever posts through it is excused while it is broken."""

    link: Link
    healed_at: float = 0.0

    @property
    def url(self) -> str:
        """The address of the API as seen through the link."""
        return f"http://{self.link.address}"

    def lose_answers(self) -> None:
        """Let requests through, and no answer, until `heal`."""
        self.healed_at = math.inf
        self.link.lose_answers()

    def heal(self) -> None:
        """Reset everything; from now on answers are passed on."""
        self.link.heal()
        self.healed_at = time.monotonic()

    def untouched_since(self, began: float) -> bool:
        """Whether it passes on what was asked at that time."""
        return self.healed_at < began


@asynccontextmanager
async def fronted(service: Service) -> AsyncIterator[Front]:
    """A link before a gateway while the body runs."""
    port = urlsplit(service.url).port
    assert port is not None
    async with Link(port).opened() as link:
        yield Front(link)


async def trickle(service: Service, first: bytes, piece: bytes, pause_seconds: float) -> bytes:
    """Send `first`, then `piece` for ever; gives what is answered by the time the gateway has had enough."""
    reader, writer = await connected(service)
    answer = asyncio.create_task(reader.read())
    try:
        writer.write(first)
        while not answer.done():
            writer.write(piece)
            with contextlib.suppress(OSError):
                await writer.drain()
            await asyncio.wait((answer,), timeout=pause_seconds)
        with contextlib.suppress(OSError):
            return answer.result()
        return b""
    finally:
        answer.cancel()
        writer.transport.abort()


Hog = Callable[[int, int], Awaitable["asyncio.Task[bytes]"]]
"""Sends a body of so many bytes for a submission, but for its last byte; gives what is answered all the same."""


@asynccontextmanager
async def hogging(service: Service) -> AsyncIterator[Hog]:
    """Keep what is sent in the memory of a gateway until the end of the body."""
    writers: list[asyncio.StreamWriter] = []
    answers: list[asyncio.Task[bytes]] = []

    async def hog(submission: int, size_bytes: int) -> "asyncio.Task[bytes]":
        reader, writer = await connected(service)
        writers.append(writer)
        fields = ("Content-Type: application/json", f"Content-Length: {size_bytes}", "")
        with contextlib.suppress(OSError):
            writer.write(head(submission, *fields) + (size_bytes - 1) * b" ")
            await writer.drain()
        answers.append(asyncio.create_task(reader.read()))
        return answers[-1]

    async with held(writers):
        try:
            yield hog
        finally:
            for answer in answers:
                answer.cancel()
            await asyncio.gather(*answers, return_exceptions=True)


async def refusals(answers: Sequence["asyncio.Task[bytes]"], count: int) -> list[str]:
    """Wait for so many answers; gives the codes of all there are, and none where a reset has overtaken it."""

    async def there() -> bool:
        return sum(answer.done() for answer in answers) >= count

    await eventually(there, 20)
    told = [answer.result() for answer in answers if answer.done() and not answer.exception()]
    return [str(json.loads(one.partition(b"\r\n\r\n")[2])["errors"][0]["code"]) for one in told if one]


async def exchange(service: Service, request: bytes, *, ends: bool = False) -> bytes:
    """Send a request, and the end of the connection after it if so told; gives the answer's first line."""
    reader, writer = await connected(service)
    try:
        writer.write(request)
        with contextlib.suppress(OSError):
            await writer.drain()
            if ends:
                writer.write_eof()
            return await reader.readline()
        return b""
    finally:
        writer.transport.abort()


def chunked(submission: int) -> bytes:
    """The head of a request whose body comes in chunks."""
    return head(submission, "Transfer-Encoding: chunked", "Content-Type: application/json", "")


def packed(coding: str, content: bytes, submission: int = VISITOR) -> bytes:
    """A request whose body is compressed, or says so."""
    fields = ("Content-Type: application/json", f"Content-Encoding: {coding}", f"Content-Length: {len(content)}", "")
    return head(submission, *fields) + content


def small_bodies() -> dict[str, bytes]:
    """Bodies of events in every coding, by its name."""
    body = b'{"quiz_submission_events":[' + b",".join(500 * [b'{"event_type":"page_blurred"}']) + b"]}"
    return {"gzip": gzip.compress(body), "deflate": zlib.compress(body), "zstd": zstd.compress(body)}


def bombs() -> dict[str, bytes]:
    """256 MiB of blanks, 16 times what is allowed, in every coding, by its name; this takes a second."""
    gzipped, deflated, zstandard = zlib.compressobj(9, wbits=31), zlib.compressobj(9), zstd.ZstdCompressor()
    found = {}
    for coding, compressor in (("gzip", gzipped), ("deflate", deflated), ("zstd", zstandard)):
        pieces = [compressor.compress(2**20 * b" ") for _ in range(2**8)]
        found[coding] = b"".join((*pieces, compressor.flush()))
    return found
