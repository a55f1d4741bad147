"""One canary: posted, and looked for until it is there."""

import asyncio
import secrets
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from quizstream.contracts.resources import MAX_ATTEMPT, Attempt, Resource

Hop: TypeAlias = Literal["post", "store", "get"]
"""`store` is the way from the log to the store: between a 204 and an answer that could show the event."""

FIRST_LOOK_AGAIN_SECONDS: Final = 0.05
LONGEST_LOOK_AGAIN_SECONDS: Final = 0.5


class HopFailed(Exception):  # noqa: N818  a situation, which is what a canary is for
    """A request had another answer than it must have, or none. `reason` quotes nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Canary(NamedTuple):
    """An event to be recognised by its mark. Its attempt is one of many, so that little is read to find it."""

    resource: Resource
    attempt: Attempt
    mark: str


class Api(Protocol):
    """POST and GET as a client sees them."""

    async def post(self, canary: Canary) -> None:
        """Return after a 204.

        Raises:
            HopFailed: there was another answer, or none in time.

        """

    async def shows(self, canary: Canary) -> bool:
        """Tell whether the log of its attempt has the canary.

        Raises:
            HopFailed: there was another answer than 200, or none in time.

        """


class Flight(NamedTuple):
    """What one canary tells: the hop that failed and why, the hops that did their part, and the time to be readable.

    Of hops that are in neither nothing is known.
    """

    alive: frozenset[Hop]
    failed: dict[Hop, str]
    readable_after_seconds: float | None = None


def new_canary(resource: Resource) -> Canary:
    """Give an event that was never sent before."""
    return Canary(resource, Attempt(1 + secrets.randbelow(MAX_ATTEMPT)), secrets.token_hex(8))


async def fly(api: Api, canary: Canary, *, patience_seconds: float) -> Flight:
    """Send a canary and wait for it, at most for the patience and one more answer."""
    try:
        await api.post(canary)
    except HopFailed as refused:
        return await _without_post(api, canary, refused.reason)
    clock = asyncio.get_running_loop().time
    began, look_again_seconds = clock(), FIRST_LOOK_AGAIN_SECONDS
    while True:
        failed: dict[Hop, str] = {}
        try:
            if await api.shows(canary):
                return Flight(frozenset({"post", "store", "get"}), {}, clock() - began)
        except HopFailed as unanswered:
            failed = {"get": unanswered.reason}
        left_seconds = patience_seconds - (clock() - began)
        if left_seconds <= 0:
            return Flight(frozenset({"post"}), failed) if failed else _never_stored()
        await asyncio.sleep(min(look_again_seconds, left_seconds))
        look_again_seconds = min(1.5 * look_again_seconds, LONGEST_LOOK_AGAIN_SECONDS)


async def _without_post(api: Api, canary: Canary, reason: str) -> Flight:
    """Tell of the other end at least whether it answers."""
    try:
        await api.shows(canary)
    except HopFailed as unanswered:
        return Flight(frozenset(), {"post": reason, "get": unanswered.reason})
    return Flight(frozenset({"get"}), {"post": reason})


def _never_stored() -> Flight:
    return Flight(frozenset({"post", "get"}), {"store": "not_readable_in_time"})
