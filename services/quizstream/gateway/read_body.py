"""From the socket to the bytes of a body: bounded in size, in time, and while decompressing.

The application has to be served with `auto_decompress=False` (`web.AppRunner(app, auto_decompress=False)`), so that
aiohttp leaves the codings to us; its `client_max_size` does not apply to what is read here.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from quizstream.contracts.errors import BadBody, BodyTooSlow
from quizstream.contracts.limits import MAX_BODY_BYTES
from quizstream.gateway.content_codings import Decoder, parse_content_encoding, too_large
from quizstream.gateway.submission import SLICE_BYTES

_LOST: Final = (RequestPayloadError, ClientPayloadError, HttpProcessingError, ConnectionError)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one body may cost.

    Each stretch of `progress_bytes`, and the rest, must come within `progress_seconds`: 2 KiB/s, measured over 30 s, so
    that a lost connection is seen and a slow one that moves is not cut. All of it has `total_seconds`.
    """

    body_bytes: int = MAX_BODY_BYTES
    progress_bytes: int = 30 * 2_048
    progress_seconds: float = 30.0
    # 15 MiB at 26 KiB/s. Slower uploads than that are not a backlog but a way to hold connections.
    total_seconds: float = 600.0


def _hold_nothing(_: int) -> None:
    return


async def read_body(
    request: web.Request,
    limits: BodyLimits,
    clock: Callable[[], float] = time.monotonic,
    *,
    hold: Callable[[int], None] = _hold_nothing,
) -> bytes:
    """Read and decompress the body of a request. `clock` gives seconds.

    `hold` is told how many bytes there are, decompressed, as they grow; what it raises ends the reading.

    Raises:
        BadBody: it is not whole, or not in the coding that `Content-Encoding` names.
        BodyTooSlow: it came slower than the limits allow.
        BodyTooLarge: it has more bytes than the limits allow, as sent or decompressed. Where `Content-Length` says so,
            nothing is read.
        UnsupportedMedia: an unknown coding; the refusal says which there are.

    """
    encodings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
    codings = parse_content_encoding(encodings) if encodings else ()
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    if not codings and request.content.is_eof():  # it came with its head, as nearly all do
        return _all_there(request.content, limits)
    return await _BodyReader(request.content, limits, clock, codings, hold).read()


def _all_there(content: StreamReader, limits: BodyLimits) -> bytes:
    try:
        body = content.read_nowait()
    except _LOST:
        raise _incomplete() from None
    if len(body) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    return body


class _BodyReader:
    def __init__(
        self,
        content: StreamReader,
        limits: BodyLimits,
        clock: Callable[[], float],
        codings: Sequence[str],
        hold: Callable[[int], None],
    ) -> None:
        self._content = content
        self._limits = limits
        self._clock = clock
        self._hold = hold
        self._decoder = Decoder(codings, limits.body_bytes)
        self._pieces: list[bytes] = []
        self._decoded_bytes = 0

    async def read(self) -> bytes:
        progress = _Progress(self._limits, self._clock)
        received_bytes = 0
        while chunk := await self._next_chunk(progress.seconds_left()):
            progress.advance(len(chunk))
            received_bytes += len(chunk)
            if received_bytes > self._limits.body_bytes:
                raise too_large(self._limits.body_bytes)
            await self._keep(chunk)
        if received_bytes:
            self._decoder.finish()
        return b"".join(self._pieces)

    async def _next_chunk(self, seconds: float) -> bytes:
        if seconds <= 0:
            raise _too_slow()
        try:
            async with asyncio.timeout(seconds):
                return await self._content.readany()
        except TimeoutError:
            raise _too_slow() from None
        except _LOST:
            raise _incomplete() from None

    async def _keep(self, chunk: bytes) -> None:
        rested_at = self._decoded_bytes
        for piece in self._decoder.feed(chunk):
            self._pieces.append(piece)
            self._decoded_bytes += len(piece)
            self._hold(self._decoded_bytes)
            if self._decoded_bytes - rested_at >= SLICE_BYTES:
                rested_at = self._decoded_bytes
                await asyncio.sleep(0)


class _Progress:
    """How long the next bytes may take."""

    def __init__(self, limits: BodyLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._ends_at = clock() + limits.total_seconds
        self._begin_stretch()

    def _begin_stretch(self) -> None:
        self._stretch_ends_at = self._clock() + self._limits.progress_seconds
        self._missing_bytes = self._limits.progress_bytes

    def seconds_left(self) -> float:
        return min(self._ends_at, self._stretch_ends_at) - self._clock()

    def advance(self, received_bytes: int) -> None:
        self._missing_bytes -= received_bytes
        if self._missing_bytes <= 0:
            self._begin_stretch()


def _too_slow() -> BodyTooSlow:
    return BodyTooSlow("body_too_slow", "The body came too slowly.")


def _incomplete() -> BadBody:
    return BadBody("body_incomplete", "The body is not whole.")
