"""Forms as `application/x-www-form-urlencoded` (WHATWG URL, section 5)."""

import re
from binascii import unhexlify
from collections.abc import Generator, Iterator
from typing import Final

from quizstream.contracts.errors import BadBody, BodyTooLarge
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.gateway.form_fields import Field, read_fields
from quizstream.gateway.submission import Sliced, Submission

# An event is its type, its time and, in the widest of Canvas's own (an answer to eight blanks), eight pieces of data.
MAX_FIELDS: Final = 10 * MAX_ELEMENTS

_PIECE: Final = 65_536  # about 1 ms
_KEPT_NAMES: Final = 4_096  # forms repeat a few names
_ESCAPES: Final = re.compile(rb"(?:%[0-9a-fA-F]{2})+")


def parse_form(body: bytes) -> Sliced[Submission]:
    """Read a urlencoded body: `+` is a blank, a `%` that begins no escape is itself, a name without `=` has no text.

    Raises:
        BadBody: it is not UTF-8 once decoded, or not the form of a list of events (`read_fields`).
        BodyTooLarge: it holds more than `MAX_FIELDS` fields or `MAX_ELEMENTS` elements.

    """
    if body.count(b"&") >= MAX_FIELDS:
        raise too_many_fields()
    return (yield from read_fields(_fields(body)))


def too_many_fields() -> BodyTooLarge:
    """Give the refusal of a form with more than `MAX_FIELDS` fields."""
    return BodyTooLarge("too_many_fields", f"At most {MAX_FIELDS} fields fit in one form.")


def decoded(raw: bytes) -> str:
    """Read the bytes of a name or value of a form.

    Raises:
        BadBody: they are not UTF-8.

    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadBody("not_utf8", "The form is not UTF-8.") from None


def _fields(body: bytes) -> Iterator[Field | None]:
    names: dict[bytes, str] = {}
    start = 0
    while start < len(body):
        end = body.find(b"&", start)
        end = len(body) if end < 0 else end
        name, _, value = body[start:end].partition(b"=")
        if name not in names:
            if len(names) == _KEPT_NAMES:
                names.clear()
            names[name] = decoded((yield from _unescaped(name)))
        yield names[name], decoded((yield from _unescaped(value)))
        start = end + 1


def _unescaped(raw: bytes) -> Generator[None, None, bytes]:
    if len(raw) <= _PIECE:
        return _unescaped_piece(raw)
    pieces: list[bytes] = []
    for piece in _pieces(raw):
        pieces.append(_unescaped_piece(piece))
        yield
    return b"".join(pieces)


def _unescaped_piece(raw: bytes) -> bytes:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    return _ESCAPES.sub(_unescape_run, raw) if b"%" in raw else raw


def _unescape_run(run: re.Match[bytes]) -> bytes:
    return unhexlify(run[0].replace(b"%", b""))


def _pieces(raw: bytes) -> Iterator[bytes]:
    """Cut so that no escape is cut: a `%` among the last two bytes of a piece begins the next one."""
    start = 0
    while start < len(raw):
        end = start + _PIECE
        escape = raw.find(b"%", end - 2, end)
        if escape >= 0 and end < len(raw):
            end = escape
        yield raw[start:end]
        start = end
