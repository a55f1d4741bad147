from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.errors import UnknownResource
from quizstream.contracts.resources import MAX_ID
from quizstream.reader.page_query import MEMBERS, PageLimits, PageQuery, parse_page_query

LIMITS = PageLimits(default=100, largest=10_000)


def parse(*parameters: tuple[str, str]) -> PageQuery:
    return parse_page_query(parameters, LIMITS)


def test_nothing_asked_for_is_the_first_page_of_the_latest_attempt_as_it_is_now() -> None:
    assert parse() == PageQuery(None, 1, 100, None, frozenset(), ())


@pytest.mark.parametrize(
    ("text", "per_page"),
    [
        ("1", 1),
        ("50", 50),
        ("0050", 50),
        ("10000", 10_000),
        ("10001", 10_000),
        ("9" * 5_000, 10_000),
        ("0", 1),
        ("-5", 1),
        ("+5", 1),
        ("5.5", 1),
        ("ten", 1),
        ("", 1),
        (" 5", 1),
        ("\N{ARABIC-INDIC DIGIT FIVE}", 1),
        ("5\n", 1),
    ],
)
def test_per_page_is_clamped_and_one_where_it_is_no_positive_number(text: str, per_page: int) -> None:
    assert parse(("per_page", text)).per_page == per_page


def test_the_last_of_repeated_values_counts() -> None:
    asked = parse(
        ("per_page", "2"), ("attempt", "9"), ("per_page", "100"), ("attempt", "1"), ("page", "x"), ("page", "3")
    )
    assert (asked.per_page, asked.attempt, asked.page) == (100, 1, 3)


@pytest.mark.parametrize(("text", "page"), [("1", 1), ("007", 7), ("9" * 5_000, MAX_ID), (str(MAX_ID), MAX_ID)])
def test_a_page_is_a_positive_number_of_any_length(text: str, page: int) -> None:
    assert parse(("page", text)).page == page


@pytest.mark.parametrize("text", ["0", "000", "-1", "+1", "1.5", "one", "", " 1", "1 ", "²", "१", "1\n"])
def test_any_other_page_does_not_exist(text: str) -> None:
    with pytest.raises(UnknownResource):
        parse(("page", text))


@pytest.mark.parametrize(("text", "attempt"), [("1", 1), ("10000", 10_000), ("0002", 2)])
def test_an_attempt_is_one_of_ten_thousand(text: str, attempt: int) -> None:
    assert parse(("attempt", text)).attempt == attempt


@pytest.mark.parametrize("text", ["0", "10001", "-1", "1abc", "1.5", "abc", "", "१", "9" * 5_000])
def test_any_other_attempt_does_not_exist(text: str) -> None:
    with pytest.raises(UnknownResource):
        parse(("attempt", text))


def test_a_list_of_attempts_is_not_taken_for_the_latest() -> None:
    with pytest.raises(UnknownResource):
        parse(("attempt[]", "1"))


@pytest.mark.parametrize(("text", "as_of"), [("0", 0), ("12289", 12_289), ("9" * 40, MAX_ID)])
def test_as_of_is_an_id_or_more_than_any(text: str, as_of: int) -> None:
    assert parse(("as_of", text)).as_of == as_of


@pytest.mark.parametrize("text", ["", "-1", "x", "1.0"])
def test_any_other_as_of_does_not_exist(text: str) -> None:
    with pytest.raises(UnknownResource):
        parse(("as_of", text))


def test_members_are_included_by_name_and_unknown_names_ignored() -> None:
    asked = parse(
        ("include[]", "attempt"), ("include[]", "password"), ("include", "received_at"), ("include[]", "attempt")
    )
    assert asked.included == {"attempt", "received_at"}


def test_other_parameters_are_kept_in_their_order_but_never_a_token() -> None:
    asked = parse(
        ("b", "1"),
        ("access_token", "secret"),
        ("page", "2"),
        ("include[]", "attempt"),
        ("as_of", "5"),
        ("a", ""),
        ("b", "2"),
    )
    assert asked.kept == (("b", "1"), ("include[]", "attempt"), ("a", ""), ("b", "2"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["page", "per_page", "as_of", "attempt", "include[]", "access_token"])
            | st.text(max_size=5),
            st.text(max_size=8) | st.sampled_from(MEMBERS) | st.integers().map(str),
        ),
        max_size=8,
    )
)
def test_any_parameters_give_a_bounded_page_or_none(parameters: Sequence[tuple[str, str]]) -> None:
    try:
        asked = parse_page_query(parameters, LIMITS)
    except UnknownResource:
        return
    assert 1 <= asked.per_page <= LIMITS.largest
    assert 1 <= asked.page <= MAX_ID
    assert asked.attempt is None or 1 <= asked.attempt <= 10_000
    assert asked.as_of is None or 0 <= asked.as_of <= MAX_ID
    assert "access_token" not in dict(asked.kept)
