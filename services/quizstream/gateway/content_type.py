"""What the body of a POST is written in, by its `Content-Type`."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from quizstream.contracts.errors import BadBody, UnsupportedMedia

BodyFormat = Literal["json", "form", "multipart"]

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf"[ \t]*({_NAME}/{_NAME})[ \t]*(?=;|\Z)", re.ASCII)
_PARAMETER: Final = re.compile(
    rf'[ \t]*;[ \t]*(?:({_NAME})=(?:({_NAME})|"((?:[^"\\]|\\.)*)"))?[ \t]*(?=;|\Z)', re.ASCII
)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_FORMATS: Final[dict[str, BodyFormat]] = {
    "application/json": "json",
    "text/plain": "json",
    "application/x-www-form-urlencoded": "form",
    "multipart/form-data": "multipart",
}


class ContentType(NamedTuple):
    """The format of a body, and the boundary between the parts of a multipart one."""

    body_format: BodyFormat
    boundary: bytes = b""


@lru_cache(maxsize=1_024)
def parse_content_type(header: str | None) -> ContentType:
    """Read the header; JSON where it is missing or empty (`sendBeacon` sends no type with some bodies).

    Raises:
        UnsupportedMedia: another media type than the documented ones, or another charset than UTF-8 and its part ASCII.
            Browsers send UTF-8 only; to guess what others meant would store wrong text for good.
        BadBody: multipart without a boundary.

    """
    if header is None or not header.strip():
        return ContentType("json")
    found = _MEDIA_TYPE.match(header)
    body_format = _format_of(found[1].lower()) if found else None
    if found is None or body_format is None:
        raise UnsupportedMedia("content_type_unsupported", "Send JSON, a urlencoded form or a multipart form.")
    parameters = dict(_parameters(header, found.end()))
    if parameters.get("charset", "utf-8").lower() not in _UTF8:
        raise UnsupportedMedia("charset_unsupported", "Send the body in UTF-8.")
    if body_format != "multipart":
        return ContentType(body_format)
    boundary = parameters.get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():  # RFC 2046, section 5.1.1
        raise BadBody("boundary_missing", "A multipart body needs a boundary of 1 to 70 characters.")
    return ContentType(body_format, boundary.encode())


def _format_of(media_type: str) -> BodyFormat | None:
    return "json" if media_type.endswith("+json") else _FORMATS.get(media_type)


def _parameters(header: str, position: int) -> Iterator[tuple[str, str]]:
    while found := _PARAMETER.match(header, position):
        position = found.end()
        if found[1]:
            yield found[1].lower(), found[2] if found[2] is not None else re.sub(r"\\(.)", r"\1", found[3])
