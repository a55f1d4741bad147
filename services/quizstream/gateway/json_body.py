"""From a JSON body to events, `event_data` in the bytes that were sent.

Most bodies are as documented: msgspec reads them in one call (1 to 2 ms a MiB, the one step that is not cut in slices).
What holds unusable elements or types other than strings is read element by element. What is legal but refused by
msgspec is marked first: JavaScript sends half of a surrogate pair as `\\ud83d` where text was cut. All give the same.
"""

import codecs
import json
import re
from hashlib import blake2b
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec

from quizstream.contracts.depth import MAX_DEPTH, DepthScan, may_be_too_deep
from quizstream.contracts.errors import BadBody
from quizstream.contracts.events import CapturedEvent, UnusableElement
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.contracts.records import MAX_EVENT_TYPE_CHARACTERS
from quizstream.gateway.elements import NOT_OBJECT, NULL, TYPE_INVALID, TYPE_MISSING, capture, storable
from quizstream.gateway.submission import (
    SLICE_BYTES,
    Sliced,
    Submission,
    attempt_invalid,
    events_missing,
    events_not_array,
    read_attempt,
    too_many_events,
)

_BOM: Final = b"\xef\xbb\xbf"
_ABSENT: Final = msgspec.Raw(NULL)
_ESCAPED_NUL: Final = b"\\u0000"  # the only form in which U+0000 can stand in JSON
_CAPTURED_PER_SLICE: Final = 2_000  # documented events, about 1 ms
_READ_PER_SLICE: Final = 200  # other elements, about 1 ms
_MARKED_PER_SLICE: Final = 32_768  # bytes of which all may be marks, at most 1 ms

_PAIR: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_NO_SURROGATE: Final = rb"\\u(?:[0-9abcefABCEF][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2}"
_WHOLE: Final = re.compile(rb"(?:[^\\]++|\\[^u]|%b|%b)*+" % (_NO_SURROGATE, _PAIR))
_LONE: Final = re.compile(rb"(?!%b)\\u(?=[dD][89a-fA-F][0-9a-fA-F]{2})" % _PAIR)
_POSITION: Final = re.compile(r"\(byte ([0-9]+)\)\Z")


class _Event(msgspec.Struct, gc=False):
    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EVENT_TYPE_CHARACTERS)]
    client_timestamp: str | None = None
    event_data: msgspec.Raw = _ABSENT


class _DocumentedBody(msgspec.Struct, gc=False):
    quiz_submission_events: list[_Event]
    attempt: msgspec.Raw = _ABSENT
    access_token: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct, gc=False):
    quiz_submission_events: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    attempt: msgspec.Raw = _ABSENT
    access_token: msgspec.Raw = _ABSENT


class _Members(msgspec.Struct, gc=False):
    event_type: msgspec.Raw = _ABSENT
    client_timestamp: msgspec.Raw = _ABSENT
    event_data: msgspec.Raw = _ABSENT


# Of a list msgspec checks the length when all of it is built, of a tuple as it goes: 8 million elements fit in a body.
# The last type fits nothing but itself, so whatever comes as far as that is one element too many.
_TOO_MANY: Final = (*(msgspec.Raw,) * MAX_ELEMENTS, Literal["one too many"])
_REACHED_TOO_MANY: Final = f"`$[{MAX_ELEMENTS}]`"

_documented: Final = msgspec.json.Decoder(_DocumentedBody).decode
_body: Final = msgspec.json.Decoder(_Body).decode
_counted: Final = msgspec.json.Decoder(tuple.__class_getitem__(_TOO_MANY)).decode
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members: Final = msgspec.json.Decoder(_Members).decode


def parse_json(body: bytes) -> Sliced[Submission]:
    """Read a JSON body.

    Raises:
        BadBody: it is no UTF-8 or no JSON, nested too deeply, without an array of events, or has a bad `attempt`.
        BodyTooLarge: it holds more than `MAX_ELEMENTS` elements.

    """
    text = body.removeprefix(_BOM)
    if not text.isascii():
        yield from _check_utf8(text)
    if may_be_too_deep(text):
        yield from _check_depth(text)
    documented = _read_documented(text)
    if documented is None:
        return (yield from _read_odd(text))
    events = documented.quiz_submission_events
    if len(events) > MAX_ELEMENTS:
        raise too_many_events()
    captured = yield from _capture_documented(events)
    return _submission(captured, [], bytes(documented.attempt), bytes(documented.access_token))


def _check_utf8(text: bytes) -> Sliced[None]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(text), SLICE_BYTES):
            if start:
                yield
            decoder.decode(text[start : start + SLICE_BYTES], final=start + SLICE_BYTES >= len(text))
    except UnicodeDecodeError:
        raise BadBody("not_utf8", "The body is not UTF-8.") from None


def _check_depth(text: bytes) -> Sliced[None]:
    scan = DepthScan()
    for start in range(0, len(text), SLICE_BYTES):
        if start:
            yield
        if not scan.feed(text[start : start + SLICE_BYTES]):
            raise BadBody("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.")


def _read_documented(text: bytes) -> _DocumentedBody | None:
    if _ESCAPED_NUL in text:
        return None
    try:
        return _documented(text)
    except msgspec.DecodeError:
        return None


def _capture_documented(events: list[_Event]) -> Sliced[list[CapturedEvent]]:
    waiting, captured = iter(events), list[CapturedEvent]()
    while True:
        captured += [
            CapturedEvent(event.event_type, event.client_timestamp, bytes(event.event_data))
            for event in islice(waiting, _CAPTURED_PER_SLICE)
        ]
        if len(captured) == len(events):
            return captured
        yield


def _submission(
    events: list[CapturedEvent], unusable: list[UnusableElement], attempt: bytes, token: bytes
) -> Submission:
    return Submission(
        events,
        unusable,
        None if attempt == NULL else read_attempt(_attempt_text(attempt)),
        None if token == NULL else storable(_text(token)),
    )


def _attempt_text(raw: bytes) -> str:
    if raw[:1] not in b'"-0123456789':
        raise attempt_invalid()
    return _text(raw)


def _text(raw: bytes) -> str:
    """Give the characters of a string, and the JSON text itself of anything else."""
    return str(json.loads(raw.decode())) if raw[:1] == b'"' else raw.decode()


def _read_odd(text: bytes) -> Sliced[Submission]:
    if not text:
        raise events_missing()
    marks = _Marks(b"")
    try:
        body = _body(text)
    except msgspec.ValidationError:
        raise events_missing() from None
    except msgspec.DecodeError:
        marks = _Marks(text)
        body = _body_or_refusal((yield from marks.made_in(text)), text)
    if body.quiz_submission_events is msgspec.UNSET:
        raise events_missing()
    array = bytes(body.quiz_submission_events)
    if array[:1] != b"[":
        raise events_not_array()
    _check_count(array)
    yield
    reader = _ElementReader(marks)
    for start, raw in enumerate(_elements(array)):
        reader.read(bytes(raw))
        if start % _READ_PER_SLICE == 0:
            yield
    attempt, token = marks.removed_from(bytes(body.attempt)), marks.removed_from(bytes(body.access_token))
    return _submission(reader.events, reader.unusable, attempt, token)


def _body_or_refusal(marked: bytes, text: bytes) -> _Body:
    try:
        return _body(marked)
    except msgspec.ValidationError:
        raise events_missing() from None
    except msgspec.DecodeError as error:
        found = _POSITION.search(str(error)) if marked == text else None
        where = f" (byte {found[1]})" if found else ""
        raise BadBody("json_malformed", f"The body is no JSON text{where}.") from None


def _check_count(array: bytes) -> None:
    if array.count(b",") < MAX_ELEMENTS:
        return
    try:
        _counted(array)
    except msgspec.ValidationError as error:
        if _REACHED_TOO_MANY not in str(error):
            return
    raise too_many_events()


class _Marks:
    """Stands for what msgspec refuses: `\\ud83d` without its other half becomes U+FFFF, a nonce and `d83d`.

    The nonce is the hash of the text, which no text can hold, so marks are found again without error.
    """

    def __init__(self, text: bytes) -> None:
        self._mark = b"\\uffff" + blake2b(text, digest_size=8).hexdigest().encode() if text else b""

    def made_in(self, text: bytes) -> Sliced[bytes]:
        marked, position, rested = bytearray(), 0, 0
        while True:
            start = position
            if whole := _WHOLE.match(text, start, start + SLICE_BYTES):
                position = whole.end()
            marked += text[start:position]
            if _LONE.match(text, position):
                marked += self._mark
                position += 2
            if position == start:  # the end, or no JSON
                return bytes(marked + text[position:])
            if len(marked) - rested >= _MARKED_PER_SLICE:
                rested = len(marked)
                yield

    def removed_from(self, text: bytes) -> bytes:
        return text.replace(self._mark, b"\\u") if self._mark else text


class _ElementReader:
    def __init__(self, marks: _Marks) -> None:
        self._marks = marks
        self._index = 0
        self.events: list[CapturedEvent] = []
        self.unusable: list[UnusableElement] = []

    def read(self, marked: bytes) -> None:
        event = self._event(marked)
        if isinstance(event, CapturedEvent):
            self.events.append(event)
        else:
            self.unusable.append(UnusableElement(self._index, event, self._marks.removed_from(marked)))
        self._index += 1

    def _event(self, marked: bytes) -> CapturedEvent | str:
        if marked[:1] == b'"':
            return capture(_text(self._marks.removed_from(marked)))
        if marked[:1] != b"{":
            return NOT_OBJECT
        members = _members(marked)
        event_type, stamp, data = (
            self._marks.removed_from(bytes(member))
            for member in (members.event_type, members.client_timestamp, members.event_data)
        )
        if event_type == NULL:
            return TYPE_MISSING
        if event_type[:1] in b"[{":
            return TYPE_INVALID
        return capture(_text(event_type), None if stamp == NULL else _text(stamp), data)
