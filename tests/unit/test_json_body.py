"""JSON bodies: `event_data` in its bytes, one bad element harms no other, and nothing but a refusal is raised."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quizstream.contracts.errors import BadBody, BodyTooLarge, Refusal
from quizstream.contracts.events import CapturedEvent, UnusableElement
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.contracts.resources import parse_attempt
from quizstream.gateway.content_type import ContentType
from quizstream.gateway.elements import REASONS
from quizstream.gateway.parse import parse, parse_slices
from quizstream.gateway.submission import SLICE_BYTES, Submission

JSON = ContentType("json")
EVENT = b'{"event_type":"page_blurred","client_timestamp":"2026-11-21T19:24:17.393Z"}'


def body_of(*elements: bytes, beside: bytes = b"") -> bytes:
    return b'{"quiz_submission_events":[' + b",".join(elements) + b"]" + beside + b"}"


def read(body: bytes) -> Submission:
    return parse(body, JSON)


def code_of(body: bytes) -> str:
    with pytest.raises(Refusal) as refused:
        read(body)
    return refused.value.code


# The reference: a parser by RFC 8259, one function for each rule, that keeps where each value stands.


class Value(NamedTuple):
    raw: str
    elements: "Sequence[Value] | None" = None
    members: "dict[str, Value] | None" = None

    @property
    def text(self) -> str:
        return str(json.loads(self.raw)) if self.raw.startswith('"') else self.raw


class NotJsonError(Exception):
    pass


class Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def document(self) -> Value:
        value = self.value()
        self.blanks()
        if self.position != len(self.text):
            raise NotJsonError
        return value

    def blanks(self) -> None:
        self.match(r"[ \t\r\n]*")

    def match(self, pattern: str) -> str:
        found = re.compile(pattern).match(self.text, self.position)
        if found is None:
            raise NotJsonError
        self.position = found.end()
        return found[0]

    def ahead(self, byte: str) -> bool:
        self.blanks()
        found = self.text.startswith(byte, self.position)
        self.position += len(byte) if found else 0
        return found

    def value(self) -> Value:
        self.blanks()
        start = self.position
        elements = self.array() if self.ahead("[") else None
        members = self.object() if elements is None and self.ahead("{") else None
        if elements is None and members is None:
            self.match(STRING + r"|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null")
        return Value(self.text[start : self.position], elements, members)

    def array(self) -> Sequence[Value]:
        elements: list[Value] = []
        while not self.ahead("]"):
            if elements and not self.ahead(","):
                raise NotJsonError
            elements.append(self.value())
        return elements

    def object(self) -> dict[str, Value]:
        members: dict[str, Value] = {}
        first = True
        while not self.ahead("}"):
            if not first and not self.ahead(","):
                raise NotJsonError
            first = False
            self.blanks()
            name = str(json.loads(self.match(STRING)))
            if not self.ahead(":"):
                raise NotJsonError
            members[name] = self.value()
        return members


STRING = r'"([^"\\\x00-\x1f]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'


def reference(body: bytes) -> Submission | None:
    """What a body is to give; None where it is to be refused with 400."""
    try:
        document = Reader(body.removeprefix(b"\xef\xbb\xbf").decode()).document()
    except (UnicodeDecodeError, NotJsonError):
        return None
    members = document.members or {}
    listed = members.get("quiz_submission_events")
    if listed is None or listed.elements is None:
        return None
    read_elements = [reference_element(index, element) for index, element in enumerate(listed.elements)]
    attempt, token = members.get("attempt"), members.get("access_token")
    sent = None if attempt is None or attempt.raw == "null" else parse_attempt(attempt.text)
    if sent is None and attempt is not None and attempt.raw != "null":
        return None
    return Submission(
        [element for element in read_elements if isinstance(element, CapturedEvent)],
        [element for element in read_elements if isinstance(element, UnusableElement)],
        sent,
        None if token is None or token.raw == "null" else storable(token.text),
    )


def unstorable(character: str) -> bool:
    return character == "\0" or "\ud800" <= character <= "\udfff"


def storable(text: str) -> str:
    return "".join("\ufffd" if unstorable(character) else character for character in text)


def reference_element(index: int, element: Value) -> CapturedEvent | UnusableElement:
    raw = element.raw.encode()
    if element.members is None and not element.raw.startswith('"'):
        return UnusableElement(index, "element_not_object", raw)
    members = element.members if element.members is not None else {"event_type": element}
    event_type = members.get("event_type", Value("null"))
    if fault := reference_fault(event_type):
        return UnusableElement(index, fault, raw)
    stamp = members.get("client_timestamp", Value("null"))
    sent = None if stamp.raw == "null" else storable(stamp.text)
    return CapturedEvent(event_type.text, sent, members.get("event_data", Value("null")).raw.encode())


def reference_fault(event_type: Value) -> str | None:
    if event_type.raw == "null":
        return "event_type_missing"
    if event_type.raw[0] in "[{":
        return "event_type_invalid"
    if not event_type.text:
        return "event_type_empty"
    if len(event_type.text) > 255:
        return "event_type_too_long"
    return "event_type_unstorable" if any(map(unstorable, event_type.text)) else None


# JSON text as clients may write it: blanks, escapes, repeated names, numbers of any size, halves of pairs.

blanks = st.text(" \t\r\n", max_size=2)
escapes = st.sampled_from(
    [
        "\\ud83d",
        "\\uDE00",
        "\\ud83d\\ude00",
        "\\\\ud83d",
        "\\\\\\ud83d",
        "\\u0000",
        "\\n",
        '\\"',
        "\\/",
        "\\uffff",
        "\\u00e9",
    ]
)
plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=4)
strings = st.lists(plain | escapes, max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
scalars = strings | numbers | st.sampled_from(["null", "true", "false", '""', "1e400"])


def arrays_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(blanks, st.lists(values, max_size=4), blanks).map(
        lambda parts: "[" + (parts[0] + "," + parts[2]).join(parts[1]) + parts[2] + "]"
    )


def objects_of(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(names, blanks, values).map(lambda parts: f"{parts[0]}{parts[1]}:{parts[1]}{parts[2]}")
    return st.tuples(blanks, st.lists(member, max_size=4)).map(
        lambda parts: "{" + parts[0] + ("," + parts[0]).join(parts[1]) + "}"
    )


def containers_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return arrays_of(values) | objects_of(strings, values)


values = st.recursive(scalars, containers_of, max_leaves=8)
stamps = st.sampled_from(['"2026-11-21T19:24:17.393Z"', "1795289057393", "null", '"\\u0000"', '"\\ud83d"']) | values
types = st.sampled_from(['"page_blurred"', '"question_viewed"', "17", "true", '""', '"' + "x" * 256 + '"', '"\\ud83d"'])
member_names = st.sampled_from(['"event_type"', '"client_timestamp"', '"event_data"', '"id"', '"event\\u005ftype"'])
documented = st.tuples(types, stamps, values).map(
    lambda parts: f'{{"event_type":{parts[0]},"client_timestamp":{parts[1]},"event_data":{parts[2]}}}'
)
elements = documented | objects_of(member_names, types | stamps | values) | values
top_names = st.sampled_from(['"quiz_submission_events"', '"attempt"', '"access_token"', '"\\ud83d"'])
attempts = st.sampled_from(["1", '"2"', "null", "10001", "1.0", '"\\u0031"', "[]"])
bodies = (
    arrays_of(elements).map(lambda listed: f'{{"quiz_submission_events":{listed}}}')
    | objects_of(top_names, arrays_of(elements) | attempts | values)
    | values
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = draw(bodies).encode()
    position = draw(st.integers(0, len(body)))
    inserted = draw(
        st.sampled_from([b"", b",", b"]", b"}", b'"', b"\\", b"\0", b"\xff", b"\\ud83d", b"NaN", b"0", b"\xef\xbb\xbf"])
    )
    return body[:position] + inserted + body[position + draw(st.integers(0, 2)) :]


@given(bodies.map(str.encode) | damaged())
@example(b'{"quiz_submission_events":["\\\\ud83d\\ude00"]}')
@example(b'{"quiz_submission_events":[{"event_type":"a","event_data":"\\uffff0000000000000000d83d\\ud83d"}]}')
@example(b'{"quiz_submission_events":5,"quiz_submission_events":["a"]}')
@example(b'{"quiz_submission_events":["a"],"quiz_submission_events":5}')
@example(b'{"quiz_submission_events":["a"]}{}')
@example(b'{"quiz_submission_events":["a"],"b":NaN}')
def test_it_reads_as_the_reference_does(body: bytes) -> None:
    expected = reference(body)
    if expected is None:
        with pytest.raises(BadBody):
            read(body)
    else:
        assert read(body) == expected


@given(values, values)
def test_event_data_keeps_its_bytes(data: str, other: str) -> None:
    sent = f'{{"event_data":{data},"event_type":"a"}}'.encode()
    captured = read(body_of(sent, b'{"event_type":"b","event_data":%b}' % other.encode()))
    assert [event.event_data for event in captured.events] == [data.encode(), other.encode()]


@given(st.binary())
def test_any_bytes_give_events_or_a_refusal(body: bytes) -> None:
    with suppress(BadBody):
        read(body)


def test_the_documented_example_is_read() -> None:
    document = b"""{
  "quiz_submission_events":
  [
    {
      "client_timestamp": "2014-10-08T19:29:58Z",
      "event_type": "question_answered",
      "event_data" : {"answer": "42"}
    }, {
      "client_timestamp": "2014-10-08T19:30:17Z",
      "event_type": "question_flagged",
      "event_data" : { "question_id": "1", "flagged": true }
    }
  ]
}"""
    assert read(document).events == [
        CapturedEvent("question_answered", "2014-10-08T19:29:58Z", b'{"answer": "42"}'),
        CapturedEvent("question_flagged", "2014-10-08T19:30:17Z", b'{ "question_id": "1", "flagged": true }'),
    ]


def test_what_canvasapi_sends_as_json_is_read() -> None:
    recorded = (
        b'{"quiz_submission_events": [{"client_timestamp": "2026-11-21T19:24:19.393Z", '
        b""
        b'"event_type": "question_viewed", "event_data": ["1", "2", "10a7c7274151"]}, '
        b'{"client_timestamp": "2026-11-21T19:24:19.393Z", '
        b'"event_type": "page_blurred_10a7c7274151", "event_data": null}]}'
    )
    assert len(recorded) == 266
    assert read(recorded).events == [
        CapturedEvent("question_viewed", "2026-11-21T19:24:19.393Z", b'["1", "2", "10a7c7274151"]'),
        CapturedEvent("page_blurred_10a7c7274151", "2026-11-21T19:24:19.393Z", b"null"),
    ]


def test_an_empty_array_is_a_submission_of_nothing() -> None:
    assert read(body_of()) == Submission([], [], None, None)


def test_one_unusable_element_harms_no_other() -> None:
    unusable = [
        b"null",
        b"5",
        b"[]",
        b"{}",
        b'{"event_type":null}',
        b'{"event_type":{}}',
        b'""',
        b'"\\u0000"',
        b'"\\ud83d"',
    ]
    submission = read(body_of(EVENT, *unusable, b'"bare"', b'{"event_type": false}'))
    assert [event.event_type for event in submission.events] == ["page_blurred", "bare", "false"]
    assert [element.raw for element in submission.unusable] == unusable
    assert [element.index for element in submission.unusable] == list(range(1, 10))
    assert {element.reason for element in submission.unusable} <= REASONS.keys()


def test_255_characters_are_a_type_and_256_are_none() -> None:
    for character in ("x", "é", "😀"):
        submission = read(body_of(f'"{character * 255}"'.encode(), f'"{character * 256}"'.encode()))
        assert [event.event_type for event in submission.events] == [character * 255]
        assert [element.reason for element in submission.unusable] == ["event_type_too_long"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "events_missing"),
        (b"{}", "events_missing"),
        (b"[]", "events_missing"),
        (b'"a"', "events_missing"),
        (b"{", "json_malformed"),
        (b'{"quiz_submission_events":[NaN]}', "json_malformed"),
        (b'{"quiz_submission_events":[]', "json_malformed"),
        (b'{"quiz_submission_events":["\\ud83d",]}', "json_malformed"),
        (b'{"quiz_submission_events":null}', "events_not_array"),
        (b'{"quiz_submission_events":{"0":"a"}}', "events_not_array"),
        (b'{"quiz_submission_events":["\xed\xa0\x80"]}', "not_utf8"),
        (body_of(b"[" * 499 + b"]" * 499), "too_deep"),
        (body_of(beside=b',"attempt":0'), "attempt_invalid"),
        (body_of(beside=b',"attempt":1.5'), "attempt_invalid"),
        (body_of(beside=b',"attempt":true'), "attempt_invalid"),
        (body_of(beside=b',"attempt":"10001"'), "attempt_invalid"),
        (body_of(beside=',"attempt":"\uff11"'.encode()), "attempt_invalid"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_by_name(body: bytes, code: str) -> None:
    assert code_of(body) == code


def test_500_levels_are_kept() -> None:
    data = b"[" * 497 + b"]" * 497
    sent = b'{"event_type":"a","event_data":%b}' % data
    assert read(body_of(sent, b'"\\ud83d"')).events == [CapturedEvent("a", None, data)]


def test_a_refusal_quotes_nothing() -> None:
    with pytest.raises(BadBody) as refused:
        read(b'{"quiz_submission_events":[{"event_type":"secret" "secret"}]}')
    assert "secret" not in str(refused.value)
    assert "(byte 50)" in str(refused.value)


@pytest.mark.parametrize("element", [b"{}", b"0", EVENT, b'"\\ud83d"'])
def test_the_number_of_elements_is_bounded(element: bytes) -> None:
    submission = read(body_of(*[element] * MAX_ELEMENTS))
    assert len(submission.events) + len(submission.unusable) == MAX_ELEMENTS
    with pytest.raises(BodyTooLarge) as refused:
        read(body_of(*[element] * (MAX_ELEMENTS + 1)))
    assert refused.value.code == "too_many_events"


def test_one_event_with_more_commas_than_elements_are_allowed_is_read() -> None:
    data = b"[" + b",".join([b"0"] * (2 * MAX_ELEMENTS)) + b"]"
    sent = b'{"event_type":"a","event_data":%b}' % data
    submission = read(body_of(sent, b"null"))
    assert [event.event_data for event in submission.events] == [data]


@pytest.mark.parametrize("odd", [b'"x"', b"5", b'"\\ud83d"', b'{"event_type":"a","client_timestamp":5}'])
def test_a_large_body_is_worked_in_slices_and_gives_the_same(odd: bytes) -> None:
    data = json.dumps({"answer": "é😀\\" * 20}, ensure_ascii=False).encode()
    sent = b'{"event_type":"a","event_data":%b}' % data
    body = body_of(*[sent] * 10_000, odd)
    assert len(body) > 4 * SLICE_BYTES
    assert sum(1 for _ in parse_slices(body, JSON)) >= len(body) // SLICE_BYTES
    assert read(body).events[:10_000] == [CapturedEvent("a", None, data)] * 10_000


def test_a_token_is_text_whatever_was_sent() -> None:
    assert read(body_of(beside=b',"access_token":"a.b.c"')).access_token == "a.b.c"
    assert read(body_of(beside=b',"access_token":"\\ud83d"')).access_token == "\ufffd"
    assert read(body_of(beside=b',"access_token":5')).access_token == "5"
    assert read(body_of(beside=b',"access_token":null')).access_token is None
