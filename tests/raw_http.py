"""HTTP/1.1 over a socket, byte by byte: nothing tidies up what is sent, nothing is hidden of what comes back."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tests.waiting import scaled

_ANSWERS_WITHIN_SECONDS = 20

Header: TypeAlias = tuple[str, str]


class Answer(NamedTuple):
    """One answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def errors(self) -> list[dict[str, object]]:
        errors: list[dict[str, object]] = json.loads(self.body)["errors"]
        return errors

    @property
    def code(self) -> object:
        """The code of the first error; it has a message too, or this fails."""
        assert self.errors[0]["message"]
        return self.errors[0]["code"]


def request(method: str, target: str, headers: Sequence[Header] = (), body: bytes | None = None) -> bytes:
    """The bytes of a request, whose length is told unless `headers` say how long it is."""
    lines = [f"{method} {target} HTTP/1.1", "Host: quiz.example.edu", *(f"{name}: {value}" for name, value in headers)]
    told = {name.lower() for name, _ in headers} & {"content-length", "transfer-encoding"}
    if body is not None and not told:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


async def exchange(url: str, sent: bytes) -> Answer:
    """Send bytes to the host and port of `url` and give the answer. Who does not read while it sends sees it too."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(sent)
        return await read_answer(reader, head=sent.startswith(b"HEAD "))
    finally:
        writer.transport.abort()  # some of what was sent may never be read
        with suppress(ConnectionError):
            await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader, *, head: bool = False) -> Answer:
    """Read one answer to its end; one to HEAD has no body, whatever its headers say."""
    async with asyncio.timeout(scaled(_ANSWERS_WITHIN_SECONDS)):
        return await _read_answer(reader, head=head)


async def _read_answer(reader: asyncio.StreamReader, *, head: bool) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(": ") for line in lines[1:] if line):
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    if head or status in {100, 204, 304}:
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, await _read_chunks(reader))
    return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)
