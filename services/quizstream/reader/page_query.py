"""The parameters of a GET. Where several values share a name the last one counts, as in Rack."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from quizstream.contracts.errors import UnknownResource
from quizstream.contracts.resources import MAX_ID, Attempt, parse_attempt

Member = Literal["client_timestamp", "received_at", "attempt"]

MEMBERS: Final[Sequence[Member]] = ("client_timestamp", "received_at", "attempt")
# Written anew in every link, or never: a token has no place in one.
_NOT_KEPT: Final = frozenset({"page", "per_page", "as_of", "attempt", "access_token"})
_DIGITS: Final = re.compile(r"0*([0-9]+)", re.ASCII)


class PageLimits(NamedTuple):
    """Events of a page: when nothing is asked for, and at most."""

    default: int
    largest: int


class PageQuery(NamedTuple):
    """What is asked for, and the other parameters, which links carry on.

    `attempt` None: the latest. `as_of` None: all that is there now, else the largest id to be seen.
    """

    attempt: Attempt | None
    page: int
    per_page: int
    as_of: int | None
    included: frozenset[Member]
    kept: Sequence[tuple[str, str]]


def parse_page_query(parameters: Iterable[tuple[str, str]], limits: PageLimits) -> PageQuery:
    """Read the decoded parameters of a request, in their order.

    `per_page` never fails: what is larger than allowed is clamped, and what is no positive number counts as 1, as in
    Canvas. A name in `include[]` (or `include`) that is not one of `MEMBERS` is ignored, as in Canvas.

    Raises:
        UnknownResource: `attempt` is not one of 1..10,000 (`attempt[]` names none), `page` no positive number, or
            `as_of` no number: no such page exists, and another one must not be mistaken for it.

    """
    given = tuple(parameters)
    last = dict(given)
    return PageQuery(
        attempt=_attempt(last),
        page=_page(last.get("page", "1")),
        per_page=_per_page(last.get("per_page"), limits),
        as_of=_as_of(last.get("as_of")),
        included=frozenset(member for member in MEMBERS if _names(given, member)),
        kept=tuple(pair for pair in given if pair[0] not in _NOT_KEPT),
    )


def _names(given: Sequence[tuple[str, str]], member: Member) -> bool:
    return ("include[]", member) in given or ("include", member) in given


def _number(text: str) -> int | None:
    """Give what ASCII digits say, but at most `MAX_ID`: Python refuses to read thousands of them."""
    digits = _DIGITS.fullmatch(text)
    if digits is None:
        return None
    return MAX_ID if len(digits[1]) > len(str(MAX_ID)) else min(int(digits[1]), MAX_ID)


def _attempt(last: dict[str, str]) -> Attempt | None:
    if "attempt[]" in last:
        raise UnknownResource
    if "attempt" not in last:
        return None
    attempt = parse_attempt(last["attempt"])
    if attempt is None:
        raise UnknownResource
    return attempt


def _page(text: str) -> int:
    page = _number(text)
    if not page:
        raise UnknownResource
    return page


def _per_page(text: str | None, limits: PageLimits) -> int:
    if text is None:
        return limits.default
    return max(1, min(_number(text) or 1, limits.largest))


def _as_of(text: str | None) -> int | None:
    if text is None:
        return None
    as_of = _number(text)
    if as_of is None:
        raise UnknownResource
    return as_of
