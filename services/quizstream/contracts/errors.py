"""What a caller is told when a request cannot be served.

    Refusal
    ├── UnknownResource       404   no such course, quiz, submission, attempt, page or route
    ├── BadBody               400   not parseable, key missing, not an array, bad `attempt`
    ├── BodyTooSlow           408
    ├── BodyTooLarge          413
    ├── UnsupportedMedia      415   content type or content encoding
    ├── UnusableEvents        422   none (or, strictly, not all) of the elements can be stored
    ├── TokenRefused          401   missing, bad or expired; carries WWW-Authenticate
    ├── ScopeRefused          401   the token lacks the scope; no WWW-Authenticate (clients tell the two apart by it)
    ├── ResourceRefused       403   the token is bound to another course, quiz, submission or attempt
    ├── RateLimited           429   a token or a submission sends too often; carries Retry-After
    └── TryLater              503   a fault or an overload of ours; carries Retry-After

Messages and codes never quote what was sent: answers of students must not reach logs through an error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

MAX_ERRORS_LISTED: Final = 100
MIN_RETRY_AFTER_RATE_LIMIT_SECONDS: Final = 15
RETRY_AFTER_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class ErrorItem:
    """One entry of `errors`: a sentence, a stable code for machines, and the index of the element it is about."""

    message: str
    code: str
    index: int | None = None


class Refusal(Exception):  # noqa: N818  the tree above names situations, and none of them is an error of ours
    """A request answered with `status` instead of its result.

    `items` is never empty; `headers` are those that the status requires.
    """

    status: ClassVar[int]

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.items: Sequence[ErrorItem] = (ErrorItem(message, code),)
        self.headers: Mapping[str, str] = headers or {}

    @property
    def code(self) -> str:
        """The stable code of the first item."""
        return self.items[0].code


class UnknownResource(Refusal):
    """404 in the words that Canvas uses, which clients compare."""

    status = 404

    def __init__(self, code: str = "not_found", message: str = "The specified resource does not exist.") -> None:
        super().__init__(code, message)


class BadBody(Refusal):
    """400: nothing was stored, and sending the same bytes again will not help."""

    status = 400


class BodyTooSlow(Refusal):
    """408: the body came slower than the documented rate; nothing was stored."""

    status = 408


class BodyTooLarge(Refusal):
    """413: a documented limit of size was exceeded; nothing was stored."""

    status = 413


class UnsupportedMedia(Refusal):
    """415: another content type or content encoding than the documented ones."""

    status = 415


class UnusableEvents(Refusal):
    """422: nothing was stored; the first `MAX_ERRORS_LISTED` unusable elements are named by index.

    `total` counts all of them.
    """

    status = 422

    def __init__(self, items: Sequence[ErrorItem], total: int, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__("events_unusable", f"{total} of the events cannot be stored.", headers=headers)
        self.items = (*self.items, *items[:MAX_ERRORS_LISTED])
        self.total = total


class TokenRefused(Refusal):
    """401 with the challenge by which clients know that the token itself is at fault."""

    status = 401

    def __init__(self, code: str) -> None:
        super().__init__(code, "Invalid access token.", headers={"WWW-Authenticate": 'Bearer realm="canvas-lms"'})


class ScopeRefused(Refusal):
    """401 without a challenge: the token is good, its scope is not."""

    status = 401

    def __init__(self) -> None:
        super().__init__("insufficient_scope", "Insufficient scopes on access token.")


class ResourceRefused(Refusal):
    """403: the token is bound to something else."""

    status = 403

    def __init__(self, code: str = "resource_forbidden") -> None:
        super().__init__(code, "user not authorized to perform that action")


class RateLimited(Refusal):
    """429: the token or the submission sent too often; the same request may be sent after `Retry-After`.

    Never sooner than after 15 s: a page flushes every 15 s, and shall not be taught to flush faster.
    """

    status = 429

    def __init__(self, excess_seconds: float) -> None:
        wait_seconds = max(MIN_RETRY_AFTER_RATE_LIMIT_SECONDS, math.ceil(excess_seconds))
        super().__init__("rate_limited", "Too many requests.", headers={"Retry-After": str(wait_seconds)})


class TryLater(Refusal):
    """503: the same request may be sent again after `retry_after_seconds`.

    Events of a refused POST may still be stored; the identity of an event makes the repetition harmless.
    """

    status = 503

    def __init__(self, code: str, message: str, *, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> None:
        super().__init__(code, message, headers={"Retry-After": str(retry_after_seconds)})


def keys_unavailable() -> TryLater:
    """Give the refusal for a token that cannot be verified now; a 401 would make Canvas's page reload."""
    return TryLater("keys_unavailable", "Tokens cannot be verified at the moment.")
