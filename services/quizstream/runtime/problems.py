"""One shape for every answer that is an error: `{"errors":[{"message":"..","code":"..","index":3}]}`.

Who asks for `application/problem+json` gets the members of RFC 9457 beside them, which allows such additions.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol, runtime_checkable

import orjson
from aiohttp import hdrs, web

PROBLEM_TYPE: Final = "application/problem+json"
CLIENT_LEFT: Final = 499  # what proxies log when a client goes before the answer; nobody receives it

_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request is malformed."),
    404: ("not_found", "The specified resource does not exist."),
    405: ("method_not_allowed", "This resource does not take that method."),
    408: ("request_timeout", "The request came too slowly."),
    413: ("body_too_large", "The body is too large."),
    415: ("unsupported_media_type", "The body's type or encoding is not supported."),
    417: ("expectation_failed", "Only the expectation 100-continue is supported."),
    431: ("headers_too_large", "The request line or the headers are too large."),
    500: ("internal_error", "An error occurred."),
}


class ProblemItem(Protocol):
    """One entry of `errors`; `index` is that of the element it is about, None where it is about none."""

    @property
    def message(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def index(self) -> int | None: ...  # noqa: D102


@runtime_checkable
class Answerable(Protocol):
    """An exception that says itself how a request is answered. Its texts quote nothing that was sent."""

    status: int
    items: Sequence[ProblemItem]
    headers: Mapping[str, str]


class Item(NamedTuple):
    """An entry of `errors` that is about no element."""

    message: str
    code: str


class Problem(NamedTuple):
    """An answer that is an error: its status, the entries of `errors` as JSON has them, and headers."""

    status: int
    errors: Sequence[Mapping[str, str | int]]
    headers: Mapping[str, str]


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Give the problem of a status about which nothing more is known."""
    phrase = HTTPStatus(status).phrase
    code, message = _WORDS.get(status, (phrase.lower().replace(" ", "_").replace("-", "_"), f"{phrase}."))
    return Problem(status, ({"message": message, "code": code},), headers or {})


def problem_of(error: Exception) -> Problem | None:
    """Give the problem that an exception stands for, None where it stands for a bug of ours."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return problem_of_status(405, {hdrs.ALLOW: ", ".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))})
    if isinstance(error, web.HTTPException):
        return problem_of_status(error.status)
    if isinstance(error, Answerable):
        return Problem(error.status, tuple(map(_entry, error.items)), error.headers)
    if isinstance(error, web.RequestPayloadError):  # chunks or length that do not add up
        return problem_of_status(400)
    return None


def _entry(item: ProblemItem) -> Mapping[str, str | int]:
    entry: dict[str, str | int] = {"message": item.message, "code": item.code}
    if item.index is not None:
        entry["index"] = item.index
    return entry


def render_problem(problem: Problem, accept: str) -> web.Response:
    """Write a problem in the form that the `Accept` header asks for. No cache may keep it."""
    body: dict[str, object] = {"errors": problem.errors}
    asked = PROBLEM_TYPE in accept.lower()
    if asked:
        title = HTTPStatus(problem.status).phrase
        detail = problem.errors[0]["message"]
        body = {"type": "about:blank", "title": title, "status": problem.status, "detail": detail, **body}
    headers = {
        **problem.headers,
        hdrs.CONTENT_TYPE: PROBLEM_TYPE if asked else "application/json; charset=utf-8",
        hdrs.CACHE_CONTROL: "no-store",
    }
    return web.Response(status=problem.status, body=orjson.dumps(body), headers=headers)
