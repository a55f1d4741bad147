"""Forms: the events that Rack would see, in both encodings, and nothing but a refusal is raised."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quizstream.contracts.depth import MAX_DEPTH
from quizstream.contracts.errors import BadBody, BodyTooLarge, Refusal, UnsupportedMedia
from quizstream.contracts.events import CapturedEvent
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.contracts.resources import Attempt
from quizstream.gateway.content_type import ContentType, parse_content_type
from quizstream.gateway.form_body import MAX_FIELDS
from quizstream.gateway.form_fields import MAX_CONTAINERS, path_of
from quizstream.gateway.parse import parse, parse_slices
from quizstream.gateway.submission import Submission

FORM = ContentType("form")
BOUNDARY = b"XX"
MULTIPART = ContentType("multipart", BOUNDARY)
EVENTS = "quiz_submission_events"

Fields: TypeAlias = Sequence[tuple[str, str]]
Tree: TypeAlias = "str | list[Tree] | dict[str, Tree]"


def read(*fields: tuple[str, str]) -> Submission:
    return parse(urlencode(fields).encode(), FORM)


def code_of(*fields: tuple[str, str]) -> str:
    with pytest.raises(Refusal) as refused:
        read(*fields)
    return refused.value.code


def multipart(fields: Fields, *, filename: str = "", tail: str = "") -> bytes:
    parts = []
    for name, value in fields:
        escaped = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
        parts.append(f'--XX\r\nContent-Disposition: form-data; name="{escaped}"{filename}\r\n{tail}\r\n{value}\r\n')
    return "".join([*parts, "--XX--\r\n"]).encode()


def event(event_type: str, data: str = "null", stamp: str | None = None) -> CapturedEvent:
    return CapturedEvent(event_type, stamp, data.encode())


# What real clients send.

DICTS_BY_CANVASAPI = (
    b"quiz_submission_events%5B%5D%5Bclient_timestamp%5D=2026-11-21T19%3A24%3A17.393Z&quiz_submission_events%5B%5D%5B"
    b"event_type%5D=question_answered&quiz_submission_events%5B%5D%5Bevent_data%5D%5B%5D%5Bquiz_question_id%5D=1&"
    b"quiz_submission_events%5B%5D%5Bevent_data%5D%5B%5D%5Banswer%5D=42+%C3%A9+%F0%9F%98%80+10a7c7274151&"
    b"quiz_submission_events%5B%5D%5Bclient_timestamp%5D=2026-11-21T19%3A24%3A18.393Z&quiz_submission_events%5B%5D%5B"
    b"event_type%5D=question_flagged&quiz_submission_events%5B%5D%5Bevent_data%5D%5BquestionId%5D=1&"
    b"quiz_submission_events%5B%5D%5Bevent_data%5D%5Bflagged%5D=true&quiz_submission_events%5B%5D%5Bevent_data%5D%5B"
    b"run%5D=10a7c7274151"
)
OBJECTS_BY_CANVASAPI = (
    b"quiz_submission_events%5B%5D=capi_a_10a7c7274151&quiz_submission_events%5B%5D=capi_b_10a7c7274151"
)


def test_dicts_flattened_by_canvasapi_are_events() -> None:
    assert len(DICTS_BY_CANVASAPI) == 651
    answered = '[{"quiz_question_id":"1","answer":"42 é 😀 10a7c7274151"}]'
    flagged = '{"questionId":"1","flagged":"true","run":"10a7c7274151"}'
    assert parse(DICTS_BY_CANVASAPI, FORM).events == [
        event("question_answered", answered, "2026-11-21T19:24:17.393Z"),
        event("question_flagged", flagged, "2026-11-21T19:24:18.393Z"),
    ]


def test_event_objects_of_canvasapi_are_events_of_their_text() -> None:
    assert len(OBJECTS_BY_CANVASAPI) == 97
    assert parse(OBJECTS_BY_CANVASAPI, FORM).events == [event("capi_a_10a7c7274151"), event("capi_b_10a7c7274151")]


# Names.


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", ["a"]),
        ("a[b]", ["a", "b"]),
        ("a[]", ["a", None]),
        ("a[][b]", ["a", None, "b"]),
        ("a[b][][c]", ["a", "b", None, "c"]),
        ("a[b", ["a", "[b"]),
        ("a[b]c", ["a", "b", "c"]),
        ("[a]", ["[a]"]),
        ("a[", ["a["]),
        ("a]", ["a]"]),
        ("", []),
    ],
)
def test_a_name_is_split_as_rack_does(name: str, path: Sequence[str | None]) -> None:
    assert path_of(name) == path


def test_a_member_that_the_last_object_has_begins_the_next_one() -> None:
    submission = read(
        (f"{EVENTS}[][event_type]", "a"),
        (f"{EVENTS}[][client_timestamp]", "1"),
        (f"{EVENTS}[][event_type]", "b"),
        (f"{EVENTS}[][event_data]", "x"),
    )
    assert submission.events == [event("a", stamp="1"), event("b", '"x"')]


def test_a_list_further_in_never_begins_an_object() -> None:
    fields = [(f"{EVENTS}[][event_type]", "a"), *[(f"{EVENTS}[][event_data][]", x) for x in "xyz"]]
    assert read(*fields).events == [event("a", '["x","y","z"]')]


def test_objects_with_other_members_merge_as_in_rack() -> None:
    assert read((f"{EVENTS}[][event_type]", "a"), (f"{EVENTS}[][client_timestamp]", "1")).events == [
        event("a", stamp="1")
    ]


def test_an_index_gives_the_order() -> None:
    fields = [(f"{EVENTS}[{index}][event_type]", str(index)) for index in (10, 2, 0)]
    assert [captured.event_type for captured in read(*fields).events] == ["0", "2", "10"]


def test_an_index_further_in_is_a_member() -> None:
    fields = [(f"{EVENTS}[0][event_type]", "a"), (f"{EVENTS}[0][event_data][0][answer]", "x")]
    assert read(*fields).events == [event("a", '{"0":{"answer":"x"}}')]


@pytest.mark.parametrize("name", [EVENTS, f"{EVENTS}[]"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_repeated_name_is_a_list_of_strings(name: str, count: int) -> None:
    assert read(*[(name, "a")] * count).events == [event("a")] * count


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], "events_missing"),
        ([("other", "1")], "events_missing"),
        ([(f"{EVENTS}[x][event_type]", "a")], "events_not_array"),
        ([(EVENTS, "a"), (f"{EVENTS}[]", "b")], "form_conflict"),
        ([(f"{EVENTS}[][a]", "1"), (f"{EVENTS}[x]", "b")], "form_conflict"),
        ([(f"{EVENTS}[0][a]", "1"), (f"{EVENTS}[]", "b")], "form_conflict"),
        ([(f"{EVENTS}[][a][]", "1"), (f"{EVENTS}[][a][b]", "b")], "form_conflict"),
        ([(f"{EVENTS}[]", "a"), ("attempt", "0")], "attempt_invalid"),
        ([(f"{EVENTS}[]", "a"), ("attempt[]", "1")], "attempt_invalid"),
        ([(f"{EVENTS}[]" + "[a]" * (MAX_DEPTH - 1), "x")], "too_deep"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_by_name(fields: Fields, code: str) -> None:
    assert code_of(*fields) == code


def test_what_does_not_concern_events_is_passed_over() -> None:
    submission = read(("a", "1"), ("a[b]", "2"), ("attempt", "7"), ("access_token", "t"), (f"{EVENTS}[]", "x"))
    assert submission == Submission([event("x")], [], Attempt(7), "t")


def test_unusable_elements_are_told_by_index_and_as_json() -> None:
    submission = read(
        (f"{EVENTS}[][event_type]", "a"),
        (f"{EVENTS}[]", ""),
        (f"{EVENTS}[][event_data]", "x"),
        (f"{EVENTS}[]", "\0"),
        (f"{EVENTS}[][event_type][b]", "c"),
    )
    assert [(element.index, element.reason, element.raw) for element in submission.unusable] == [
        (1, "event_type_empty", b'""'),
        (2, "event_type_missing", b'{"event_data":"x"}'),
        (3, "event_type_unstorable", b'"\\u0000"'),
        (4, "event_type_invalid", b'{"event_type":{"b":"c"}}'),
    ]


def test_data_of_500_levels_is_kept() -> None:
    levels = MAX_DEPTH - 3
    name = f"{EVENTS}[][event_data]" + "[a]" * levels
    captured = read((f"{EVENTS}[][event_type]", "x"), (name, "v")).events
    assert captured[0].event_data == b'{"a":' * levels + b'"v"' + b"}" * levels


# Limits.


def test_the_number_of_elements_is_bounded() -> None:
    assert len(read(*[(f"{EVENTS}[]", "a")] * MAX_ELEMENTS).events) == MAX_ELEMENTS
    for name in (EVENTS, f"{EVENTS}[]", f"{EVENTS}[][event_type]"):
        assert code_of(*[(name, "a")] * (MAX_ELEMENTS + 1)) == "too_many_events"


def test_the_number_of_fields_is_bounded() -> None:
    with pytest.raises(BodyTooLarge):
        parse(b"&" * MAX_FIELDS, FORM)


def test_names_of_nothing_but_brackets_do_not_fill_the_memory() -> None:
    fields = [(f"{EVENTS}[]" + "[a]" * 400 + f"[{index}]", "") for index in range(MAX_CONTAINERS // 400 + 2)]
    assert read(*fields[:1]).unusable
    assert (
        code_of(*[(name.replace("[]", f"[{index}]"), "") for index, (name, _) in enumerate(fields)])
        == "form_too_complex"
    )


# Encodings.


@pytest.mark.parametrize("body", [b"quiz_submission_events[]=%ff", b"quiz_submission_events[]=\xff", b"%ff=a"])
def test_what_is_not_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody) as refused:
        parse(body, FORM)
    assert refused.value.code == "not_utf8"


def test_a_percent_sign_that_begins_no_escape_is_itself() -> None:
    assert parse(b"quiz_submission_events[]=100%&quiz_submission_events[]=%zz%4", FORM).events == [
        event("100%"),
        event("%zz%4"),
    ]


@given(st.text("%4a1é+", max_size=40), st.integers(0, 3))
def test_a_long_value_is_decoded_as_a_short_one(text: str, shift: int) -> None:
    filler = "x" * (65_533 + shift)
    body = f"{EVENTS}[][event_type]=a&{EVENTS}[][event_data]={quote_plus(filler + text)}".encode()
    assert json.loads(parse(body, FORM).events[0].event_data) == filler + text


def test_a_large_form_is_worked_in_slices() -> None:
    rests = sum(1 for _ in parse_slices(urlencode([(f"{EVENTS}[]", "a")] * 10_000).encode(), FORM))
    assert rests > 10


@pytest.mark.parametrize("filename", ["", '; filename="a.txt"'])
def test_multipart_is_the_same_form(filename: str) -> None:
    fields = parse_qsl(DICTS_BY_CANVASAPI.decode())
    body = multipart(fields, filename=filename, tail="Content-Type: text/plain\r\n")
    assert parse(body, MULTIPART) == parse(DICTS_BY_CANVASAPI, FORM)


@pytest.mark.parametrize(
    "body",
    [
        b"preamble\r\n--XX  \r\ncontent-disposition: form-data;name=%b\r\n\r\na\r\n--XX--\r\nepilogue",
        b'--XX\r\nX: y\r\nContent-Disposition: form-data; filename="f"; NAME="%b"\r\n\r\na\r\n--XX--',
    ],
)
def test_multipart_may_be_written_in_other_ways(body: bytes) -> None:
    assert parse(body % f"{EVENTS}[]".encode(), MULTIPART).events == [event("a")]


def test_a_value_may_hold_what_looks_like_a_boundary() -> None:
    value = "-XX\n--XX\r\n--X\r\n\r\n"
    assert parse(multipart([(f"{EVENTS}[]", value)]), MULTIPART).events == [event(value)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XX--",
        b"--XX\r\n",
        b"--XXX\r\n\r\n--XX--",
        b"--XX\r\nContent-Disposition: form-data\r\n\r\na\r\n--XX--",
        b'--XX\r\nContent-Disposition: form-data; name="a"\r\na\r\n--XX--',
        b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\na\r\n',
        b'--XX\nContent-Disposition: form-data; name="a"\n\na\n--XX--',
    ],
)
def test_broken_multipart_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        parse(body, MULTIPART)


# The reference: what Rack does, one level of a name after the other.


class ConflictError(Exception):
    pass


def reference(fields: Fields) -> "Tree | None":
    root: dict[str, Tree] = {}
    for name, value in fields:
        found = re.match(r"([^\[]+)(.*)", name)
        if found and found[1] == EVENTS:
            put_member(root, found[1], found[2], value)
    return root.get(EVENTS)


def put_member(holder: dict[str, Tree], name: str, rest: str, value: str) -> None:
    if not rest:
        holder[name] = value
    elif rest.startswith("[]"):
        elements = holder.setdefault(name, [])
        if not isinstance(elements, list):
            raise ConflictError
        put_element(elements, rest[2:], value)
    else:
        members = holder.setdefault(name, {})
        if not isinstance(members, dict):
            raise ConflictError
        inner, _, rest = rest[1:].partition("]")
        put_member(members, inner, rest, value)


def put_element(elements: list[Tree], rest: str, value: str) -> None:
    if not rest:
        elements.append(value)
        return
    if not elements or not isinstance(elements[-1], dict) or has(elements[-1], rest):
        elements.append({})
    last = elements[-1]
    assert isinstance(last, dict)
    inner, _, rest = rest[1:].partition("]")
    put_member(last, inner, rest, value)


def has(tree: Tree, rest: str) -> bool:
    if "[]" in rest:
        return False
    for inner in re.findall(r"\[(.*?)\]", rest):
        if not isinstance(tree, dict) or inner not in tree:
            return False
        tree = tree[inner]
    return True


steps = st.sampled_from(["[]", "[a]", "[b]", "[event_data]", "[0]"])
names = st.lists(steps, min_size=1, max_size=4).map("".join).filter(lambda name: "[][]" not in name)


@given(st.lists(st.tuples(names, st.text(max_size=3)), min_size=1, max_size=8))
@example([("[][a]", "1"), ("[][b]", "2"), ("[][a]", "3")])
def test_nested_names_give_what_rack_gives(parts: Fields) -> None:
    inside = [(f"{EVENTS}[][event_data][x]{name}", value) for name, value in parts]
    try:
        expected = reference(inside)
    except ConflictError:
        assert code_of(*inside) == "form_conflict"
        return
    submission = read(*inside)
    assert [json.loads(element.raw) for element in submission.unusable] == expected


# A whole form: the elements that its fields make up, and what becomes of each.

Element: TypeAlias = "tuple[str, object, object] | tuple[int, object]"


def reference_elements(fields: Fields) -> "Sequence[Tree] | None":
    bare: list[Tree] = [value for name, value in fields if name == EVENTS]
    try:
        tree = reference([field for field in fields if field[0] != EVENTS])
    except ConflictError:
        return None
    if bare:
        return bare if tree is None else None
    if isinstance(tree, dict) and all(index.isdecimal() for index in tree):
        return [tree[index] for index in sorted(tree, key=int)]
    return tree if isinstance(tree, list) else None


def reference_element(index: int, element: Tree) -> Element:
    """An event's type, stamp and data; of what is none, its index and all of it."""
    members = {"event_type": element} if isinstance(element, str) else element
    kind = members.get("event_type") if isinstance(members, dict) else None
    if not isinstance(members, dict) or not isinstance(kind, str) or not 1 <= len(kind) <= 255 or "\0" in kind:
        return index, element
    stamp = members.get("client_timestamp")
    return kind, stamp.replace("\0", "\ufffd") if isinstance(stamp, str) else stamp, members.get("event_data")


def elements_of(submission: Submission) -> list[Element]:
    usable: list[Element] = [
        (event.event_type, event.client_timestamp, json.loads(event.event_data)) for event in submission.events
    ]
    return usable + [(element.index, json.loads(element.raw)) for element in submission.unusable]


inside = [
    "", "[]", "[][event_type]", "[][client_timestamp]", "[][event_data]", "[][event_data][a]", "[][event_data][]",
    "[][event_data][][b]", "[][event_type][]", "[0][event_type]", "[7][event_type]", "[7][event_data]", "[x]", "[][0]",
]  # fmt: skip
form_names = st.sampled_from([*(f"{EVENTS}{rest}" for rest in inside), "attempt", "events[][event_type]", "quiz"])
form_values = st.sampled_from(["", "a", "1", "10001", "\0", "x" * 256, "\u00e9 &=+%", "2020-03-01T09:30:00Z"])


@given(st.lists(st.tuples(form_names, form_values), max_size=8))
@example([(f"{EVENTS}[]", "a"), (EVENTS, "b")])
@example([(f"{EVENTS}[7][event_type]", "b"), (f"{EVENTS}[0][event_type]", "a")])
@example([(f"{EVENTS}[][event_type]", "a"), ("attempt", "10001"), ("attempt", "1")])
def test_a_whole_form_gives_what_the_rules_give(fields: Fields) -> None:
    elements = reference_elements(fields)
    attempt = dict(fields).get("attempt")
    if elements is None or attempt not in {None, "1"}:
        with pytest.raises(BadBody):
            read(*fields)
        return
    submission = read(*fields)
    expected = [reference_element(index, element) for index, element in enumerate(elements)]
    assert elements_of(submission) == sorted(expected, key=lambda element: isinstance(element[0], int))
    assert submission.attempt == (None if attempt is None else 1)


@given(st.lists(st.text("%4aC39\u00e9+= \0", max_size=8), min_size=1, max_size=4))
@example(["%C3%A9", "%c3%", "%4", "%%41"])
@example(["%C3"])
def test_values_are_unescaped_as_the_standard_library_does_it(values: Sequence[str]) -> None:
    body = "&".join(f"{EVENTS}[]={value}" for value in values)
    try:
        expected: list[Tree] = [value for _, value in parse_qsl(body, keep_blank_values=True, errors="strict")]
    except UnicodeDecodeError:
        with pytest.raises(BadBody):
            parse(body.encode(), FORM)
        return
    found = [reference_element(index, element) for index, element in enumerate(expected)]
    assert elements_of(parse(body.encode(), FORM)) == sorted(found, key=lambda element: isinstance(element[0], int))


@given(
    st.lists(
        st.tuples(st.sampled_from([f"{EVENTS}[][event_type]", f"{EVENTS}[][event_data][]"]), st.text()), min_size=1
    )
)
def test_both_encodings_give_the_same(fields: Fields) -> None:
    body = multipart(fields)
    if body.count(b"\r\n--XX") == len(fields):  # no value holds the boundary
        assert parse(body, MULTIPART) == read(*fields)


@given(
    st.binary() | st.text("quiz_submission_events[]=&%+0a", max_size=80).map(str.encode),
    st.sampled_from([FORM, MULTIPART]),
)
def test_any_bytes_give_events_or_a_refusal(body: bytes, content_type: ContentType) -> None:
    for sent in (body, b"quiz_submission_events[]=a&" + body, b"--XX\r\n" + body + b"\r\n--XX--"):
        with suppress(BadBody):
            parse(sent, content_type)


# Content types.


@pytest.mark.parametrize(
    ("header", "content_type"),
    [
        (None, ContentType("json")),
        ("", ContentType("json")),
        ("application/json; charset=UTF-8", ContentType("json")),
        ('APPLICATION/JSON;charset="utf-8"', ContentType("json")),
        ("application/vnd.api+json", ContentType("json")),
        ("text/plain;charset=UTF-8", ContentType("json")),
        ("application/json;", ContentType("json")),
        ("application/x-www-form-urlencoded", FORM),
        ("multipart/form-data; boundary=XX", MULTIPART),
        ('multipart/form-data; charset=us-ascii; boundary="a b\\"c"', ContentType("multipart", b'a b"c')),
    ],
)
def test_documented_content_types_are_read(header: str | None, content_type: ContentType) -> None:
    assert parse_content_type(header) == content_type


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("text/html", "content_type_unsupported"),
        ("json", "content_type_unsupported"),
        ("application/json, text/plain", "content_type_unsupported"),
        ("application/octet-stream", "content_type_unsupported"),
        ("application/json; charset=utf-16", "charset_unsupported"),
        ("application/x-www-form-urlencoded; charset=ISO-8859-1", "charset_unsupported"),
    ],
)
def test_other_content_types_are_refused(header: str, code: str) -> None:
    with pytest.raises(UnsupportedMedia) as refused:
        parse_content_type(header)
    assert refused.value.code == code


@pytest.mark.parametrize("header", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 71])
def test_multipart_needs_a_boundary(header: str) -> None:
    with pytest.raises(BadBody):
        parse_content_type(header)


@given(st.text())
def test_no_content_type_raises_anything_but_a_refusal(header: str) -> None:
    for sent in (header, "application/json;" + header, "multipart/form-data; boundary=" + header):
        with suppress(BadBody, UnsupportedMedia):
            parse_content_type(sent)
