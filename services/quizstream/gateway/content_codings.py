"""Undoing `Content-Encoding`, within bounds at every step.

A kilobyte can stand for a gigabyte, and a coding can be put on a coding. So no step gives more than a piece at a time,
none more than the limit in all, and nothing is kept but the last result.
"""

import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from quizstream.contracts.errors import BadBody, BodyTooLarge, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPT_ENCODING: Final = "gzip, deflate, zstd"

PIECE_BYTES: Final = 65_536
MAX_CODINGS: Final = 3  # nobody sends two; each one more multiplies the work of a hostile body
MAX_MEMBERS: Final = 4_096  # 16 MiB in blocks of 4 KiB; an empty member is 20 bytes and costs as much as a full one

# RFC 9659: `zstd` over HTTP has a window of at most 8 MiB, which is what a decoder must keep.
_ZSTD_OPTIONS: Final = {zstd.DecompressionParameter.window_log_max.value: 23}
_BROKEN: Final = (zlib.error, zstd.ZstdError)


class _Member(Protocol):
    """One member (gzip), stream (deflate) or frame (zstd)."""

    complete: bool
    unused: bytes

    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Stream:
    """Undoes one coding. `limit_bytes` bounds what comes out of it."""

    def __init__(self, coding: str, limit_bytes: int) -> None:
        self._new = _CODINGS[coding]
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes
        self._member: _Member | None = None
        self._members = 0
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what `data` decodes to, in pieces of at most `PIECE_BYTES`."""
        while data:
            if self._member is None:
                data, self._head = self._head + data, b""
                if len(data) < 2:  # `deflate` is told from its first two bytes
                    self._head = data
                    return
                self._member = self._open(data)
            yield from self._bounded(self._member.feed(data))
            data = self._member.unused
            if not self._member.complete:
                return
            self._member = None

    def finish(self) -> None:
        """Raise `BadBody` unless the stream is complete."""
        if self._member is not None or self._head:
            raise broken()

    def _open(self, head: bytes) -> _Member:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise broken()
        return self._new(head)

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._left_bytes -= len(piece)
            if self._left_bytes < 0:
                raise too_large(self._limit_bytes)
            yield piece


class _ZlibMember:
    def __init__(self, window_bits: int) -> None:
        self._member = zlib.decompressobj(window_bits)
        self.complete = False
        self.unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not self.complete:
            piece = self._member.decompress(data, PIECE_BYTES)
            data, self.complete = self._member.unconsumed_tail, self._member.eof
            if piece:
                yield piece
            if not data and len(piece) < PIECE_BYTES:
                break
        self.unused = self._member.unused_data


class _ZstdMember:
    def __init__(self) -> None:
        self._member = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self.complete = False
        self.unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self.complete:
            piece = self._member.decompress(data, PIECE_BYTES)
            data, self.complete = b"", self._member.eof
            if piece:
                yield piece
            if self._member.needs_input:
                break
        self.unused = self._member.unused_data if self.complete else b""


def _gzip_member(_head: bytes) -> _Member:
    return _ZlibMember(31)


def _deflate_member(head: bytes) -> _Member:
    # RFC 9110 means zlib's format (RFC 1950) by `deflate`, some clients send it bare. The check of the two bytes of its
    # header cannot hold of the first block of a bare stream: its third bit would be set in the padding of a stored one.
    zlib_format = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return _ZlibMember(15 if zlib_format else -15)


def _zstd_member(_head: bytes) -> _Member:
    return _ZstdMember()


_CODINGS: Final[dict[str, Callable[[bytes], _Member]]] = {
    "gzip": _gzip_member,
    "x-gzip": _gzip_member,
    "deflate": _deflate_member,
    "zstd": _zstd_member,
}


class Decoder:
    """Undoes the codings of one body, in pieces of at most `PIECE_BYTES`."""

    def __init__(self, codings: Sequence[str], limit_bytes: int) -> None:
        self._streams = [_Stream(coding, limit_bytes) for coding in reversed(codings)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what the next bytes of the body decode to.

        Raises:
            BadBody: they are not in that coding.
            BodyTooLarge: more than the limit came out of one of the codings.

        """
        pieces = iter((data,))
        for stream in self._streams:
            pieces = _chained(stream, pieces)
        try:
            yield from pieces
        except _BROKEN:
            raise broken() from None

    def finish(self) -> None:
        """Raise `BadBody` unless all codings are complete."""
        for stream in self._streams:
            stream.finish()


def _chained(stream: _Stream, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stream.feed(piece)


def parse_content_encoding(headers: Sequence[str]) -> Sequence[str]:
    """Give the codings in the order in which they were applied; `identity` and empty elements are none.

    Raises:
        UnsupportedMedia: an unknown coding, or more than `MAX_CODINGS`.

    """
    named = re.split(r"[ \t]*,[ \t]*", ",".join(headers).strip(" \t").lower())
    codings = [coding for coding in named if coding not in {"", "identity"}]
    if len(codings) > MAX_CODINGS or not _CODINGS.keys() >= set(codings):
        raise UnsupportedMedia(
            "content_encoding_unsupported",
            f"Send the body as it is, or in {ACCEPT_ENCODING}.",
            headers={"Accept-Encoding": ACCEPT_ENCODING},
        )
    return codings


def broken() -> BadBody:
    """Give the refusal of a compressed body that is not whole or holds something else."""
    return BadBody("compression_broken", "The body is not in its content encoding from beginning to end.")


def too_large(limit_bytes: int) -> BodyTooLarge:
    """Give the refusal of a body over `limit_bytes`."""
    return BodyTooLarge("body_too_large", f"At most {limit_bytes} bytes fit in one request.")
