"""Forms as `multipart/form-data` (RFC 7578 on RFC 2046), as browsers and HTTP clients write them.

The parts are already in memory and bounded, so they are cut by the boundary; a part's own type, charset and file name
are not looked at: every part is a field with text in UTF-8.
"""

import re
from collections.abc import Iterator
from typing import Final

from quizstream.contracts.errors import BadBody
from quizstream.gateway.form_body import MAX_FIELDS, decoded, too_many_fields
from quizstream.gateway.form_fields import Field, read_fields
from quizstream.gateway.submission import Sliced, Submission

_MAX_PART_HEAD_BYTES: Final = 16_384  # a name of 500 levels, and room
_DISPOSITION: Final = re.compile(
    rb"(?:\A|\r\n)content-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)(?=\r\n|\Z)", re.IGNORECASE
)
_PARAMETER: Final = re.compile(rb';[ \t]*([^\s;="]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))[ \t]*')
_ESCAPED_IN_NAME: Final = re.compile(rb"%22|%0D|%0A|\\([\"\\])", re.IGNORECASE)


def parse_multipart(body: bytes, boundary: bytes) -> Sliced[Submission]:
    """Read a multipart body.

    Raises:
        BadBody: its parts cannot be told apart, one has no name, is not UTF-8, or they hold no list of events.
        BodyTooLarge: it holds more than `MAX_FIELDS` parts or `MAX_ELEMENTS` elements.

    """
    return read_fields(_fields(body, boundary))


def _fields(body: bytes, boundary: bytes) -> Iterator[Field]:
    for count, part in enumerate(_parts(body, boundary)):
        if count >= MAX_FIELDS:
            raise too_many_fields()
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or len(head) > _MAX_PART_HEAD_BYTES:
            raise _malformed("a part has no end of its header")
        yield decoded(_name(head)), decoded(content)


def _parts(body: bytes, boundary: bytes) -> Iterator[bytes]:
    delimiter = b"\r\n--" + boundary
    start = 0 if body.startswith(delimiter[2:]) else body.find(delimiter)
    if start < 0:
        raise _malformed("its boundary does not occur")
    start = body.index(boundary, start) + len(boundary)
    while body[start : start + 2] != b"--":
        end_of_line = body.find(b"\r\n", start)
        end = body.find(delimiter, end_of_line)
        if end_of_line < 0 or end < 0 or body[start:end_of_line].strip(b" \t"):
            raise _malformed("its last boundary is missing")
        yield body[end_of_line + 2 : end]
        start = end + len(delimiter)


def _name(head: bytes) -> bytes:
    disposition = _DISPOSITION.search(head)
    for parameter in _PARAMETER.finditer(disposition[1]) if disposition else ():
        if parameter[1].lower() == b"name":
            return _ESCAPED_IN_NAME.sub(_unescape, parameter[2]) if parameter[3] is None else parameter[3]
    raise _malformed("a part has no name")


def _unescape(found: re.Match[bytes]) -> bytes:
    # WHATWG HTML, section 4.10.21.8: browsers write these three so, and others with a backslash.
    return found[1] or bytes.fromhex(found[0][1:].decode())


def _malformed(what: str) -> BadBody:
    return BadBody("multipart_malformed", f"The body is no multipart form: {what}.")
