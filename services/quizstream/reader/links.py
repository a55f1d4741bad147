"""The `Link` header (RFC 8288), in the form that clients of Canvas cut to pieces with regular expressions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode


class Pages(NamedTuple):
    """Where a page stands: its number and the last one's (at least 1), and the events of each."""

    page: int
    last_page: int
    per_page: int


def pages_of(page: int, per_page: int, events: int) -> Pages:
    """Give where page `page` of a log of so many events stands; it may lie behind the last one."""
    return Pages(page, max(1, -(-events // per_page)), per_page)


def link_header(url: str, parameters: Sequence[tuple[str, str]], pages: Pages) -> str:
    """Give the links to `url`: current, next, prev, first, last, as far as they apply, joined by `,` without blank.

    `parameters` come first. Then come `page` and `per_page`, in this order: Canvas's viewer takes the first number
    behind `page=` in a URL for the page's. A page behind the end has the last one as its predecessor.
    """
    return ",".join(
        f'<{_page_url(url, parameters, page, pages.per_page)}>; rel="{name}"' for name, page in _named(pages)
    )


def _named(pages: Pages) -> Iterator[tuple[str, int]]:
    yield "current", pages.page
    if pages.page < pages.last_page:
        yield "next", pages.page + 1
    if pages.page > 1:
        yield "prev", min(pages.page - 1, pages.last_page)
    yield "first", 1
    yield "last", pages.last_page


def _page_url(url: str, parameters: Sequence[tuple[str, str]], page: int, per_page: int) -> str:
    query = [*parameters, ("page", str(page)), ("per_page", str(per_page))]
    return f"{url}?{urlencode(query, quote_via=quote, safe='')}"
