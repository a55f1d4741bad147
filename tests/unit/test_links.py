import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.reader.links import link_header, pages_of

URL = "https://quiz.example.edu/api/v1/courses/1/quizzes/2/submissions/3/events"

parameters = st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=3).map(tuple)


def relations(header: str) -> dict[str, str]:
    """As a client reads it: parts between commas, each an address in angle brackets and a name."""
    found = [re.fullmatch(r'<([^<>,"\s]*)>; rel="([a-z]+)"', part) for part in header.split(",")]
    return {match[2]: match[1] for match in found if match}


def test_a_page_in_the_middle_has_all_links_in_the_order_of_canvas() -> None:
    header = link_header(URL, [("attempt", "1"), ("as_of", "99")], pages_of(2, 10, 25))
    query = "?attempt=1&as_of=99"
    assert header == (
        f'<{URL}{query}&page=2&per_page=10>; rel="current",<{URL}{query}&page=3&per_page=10>; rel="next",'
        f'<{URL}{query}&page=1&per_page=10>; rel="prev",<{URL}{query}&page=1&per_page=10>; rel="first",'
        f'<{URL}{query}&page=3&per_page=10>; rel="last"'
    )


@pytest.mark.parametrize(
    ("page", "events", "names"),
    [
        (1, 0, ["current", "first", "last"]),
        (1, 10, ["current", "first", "last"]),
        (1, 11, ["current", "next", "first", "last"]),
        (2, 11, ["current", "prev", "first", "last"]),
        (9, 11, ["current", "prev", "first", "last"]),
        (9, 0, ["current", "prev", "first", "last"]),
    ],
)
def test_only_links_that_apply_are_there_and_every_page_has_some(page: int, events: int, names: list[str]) -> None:
    assert list(relations(link_header(URL, [], pages_of(page, 10, events)))) == names


def test_the_predecessor_of_a_page_behind_the_end_is_the_last_one() -> None:
    links = relations(link_header(URL, [], pages_of(9, 10, 11)))
    assert links["prev"] == links["last"] == f"{URL}?page=2&per_page=10"


@given(parameters, st.integers(1, 2**63), st.integers(1, 10_000), st.integers(0, 10**7))
def test_links_carry_the_parameters_and_break_for_none(
    sent: tuple[tuple[str, str], ...], page: int, per_page: int, events: int
) -> None:
    links = relations(link_header(URL, sent, pages_of(page, per_page, events)))
    assert {"current", "first", "last"} <= links.keys()
    for link in links.values():
        assert link.startswith(f"{URL}?")
        query = parse_qsl(urlsplit(link).query, keep_blank_values=True)
        assert query[:-2] == list(sent)
        assert [name for name, _ in query[-2:]] == ["page", "per_page"]


@given(st.integers(1, 50), st.integers(0, 200))
def test_following_next_visits_every_page_once(per_page: int, events: int) -> None:
    page, seen = 1, 0
    while True:
        seen += max(0, min(per_page, events - (page - 1) * per_page))
        links = relations(link_header(URL, [], pages_of(page, per_page, events)))
        if "next" not in links:
            break
        page = int(dict(parse_qsl(urlsplit(links["next"]).query))["page"])
    assert seen == events
    assert links["current"] == links["last"]
