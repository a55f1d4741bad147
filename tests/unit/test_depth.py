"""One limit of nesting, counted the same wherever a text is cut."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.depth import MAX_DEPTH, DepthScan, is_too_deep

BRACKETS_IN_STRINGS = [b'"[[["', b'"\\""', b'"\\\\"', b'"\\\\\\"{{{"', b'"\\u005b"', '"é[😀{"'.encode()]


def nested(levels: int, inside: bytes = b"", opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + inside + closing * levels


def reference_depth(text: bytes) -> int:
    depth = deepest = position = 0
    while position < len(text):
        byte = text[position : position + 1]
        if byte == b'"':
            position += 1
            while text[position : position + 1] != b'"':
                position += 2 if text[position : position + 1] == b"\\" else 1
        depth += (byte in {b"[", b"{"}) - (byte in {b"]", b"}"})
        deepest = max(deepest, depth)
        position += 1
    return deepest


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":[0,', b"]}]")])
def test_the_limit_is_the_last_level_that_passes(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    inside = nested(MAX_DEPTH % levels, b"1")
    assert not is_too_deep(nested(MAX_DEPTH // levels, inside, opening, closing))
    assert is_too_deep(nested(MAX_DEPTH // levels, b"[" + inside + b"]", opening, closing))


def test_any_number_of_siblings_is_one_level() -> None:
    assert not is_too_deep(b"[" + b",".join([b'{"a":["]]]"]}'] * 10_000) + b"]")


@pytest.mark.parametrize("string", BRACKETS_IN_STRINGS)
def test_brackets_in_strings_do_not_count(string: bytes) -> None:
    assert not is_too_deep(b"[" + b",".join([string] * 1_000) + b"]")
    assert is_too_deep(b"[" + b",".join([string] * 1_000) + b"," + nested(MAX_DEPTH, string) + b"]")


def test_a_depth_that_is_reached_late_is_found() -> None:
    assert is_too_deep(b"[" + b"[]," * 5_000 + nested(MAX_DEPTH) + b"]")


bushes = st.lists(
    st.tuples(st.integers(0, MAX_DEPTH + 5), st.sampled_from([*BRACKETS_IN_STRINGS, b"0"])), min_size=1, max_size=6
).map(lambda parts: b"[" + b",".join(nested(levels, inside) for levels, inside in parts) + b"]")


@given(bushes, st.lists(st.integers(0, 3_000), max_size=20))
def test_it_is_found_wherever_the_text_is_cut(text: bytes, cuts: Sequence[int]) -> None:
    scan = DepthScan()
    ends = [*sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert all([scan.feed(piece) for piece in pieces]) == (reference_depth(text) <= MAX_DEPTH)  # noqa: C419  all are fed


@given(st.binary() | st.text('[]{}"\\', max_size=2_000).map(str.encode))
def test_no_bytes_raise(text: bytes) -> None:
    is_too_deep(text)
