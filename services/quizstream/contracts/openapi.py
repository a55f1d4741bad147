"""The OpenAPI 3.1 document of the API, made from the constants that the code itself works by.

`python -m quizstream.contracts.openapi` prints it; with a name of `PUBLISHED` behind it, that file of `schemas/`.
"""

import json
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from quizstream.contracts.access import CANARY_SCOPE, GET_SCOPE, POST_SCOPE
from quizstream.contracts.canaries import FIRST_RESERVED_ID
from quizstream.contracts.error_codes import GET_CODES, OPTIONS_CODES, POST_CODES, Codes
from quizstream.contracts.errors import MAX_ERRORS_LISTED, MIN_RETRY_AFTER_RATE_LIMIT_SECONDS
from quizstream.contracts.http_schemas import ANSWER, DIALECT, ERROR, PROBLEM, REQUEST, Schema
from quizstream.contracts.limits import (
    DEFAULT_PER_PAGE,
    MAX_BODY_BYTES,
    MAX_BODY_WITH_TOKEN_BYTES,
    MAX_ELEMENTS,
    MAX_PER_PAGE,
)
from quizstream.contracts.resources import MAX_ATTEMPT, MAX_ID, ROUTE

API_VERSION: Final = "1.0.0"  # of the API, not of the program: its first number changes when a client must
PATH: Final = re.sub(r":(\w+)", r"{\1}", ROUTE)
INCLUDABLE: Final = ("client_timestamp", "received_at", "attempt")
# RFC 9110 renamed these; Python's `http` followed in 3.13.
_RENAMED: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
CONTENT_CODINGS: Final = ("gzip", "deflate", "zstd")


_TEXT: Final[Schema] = {"type": "string"}
_SECONDS: Final[Schema] = {"type": "integer", "minimum": 1}
_ID: Final = "[0-9]{1,19}|[0-9]{1,4}~[0-9]{1,13}"
_SECURITY: Final[list[Schema]] = [{"bearer": []}, {"query_token": []}]

_DESCRIPTION: Final = f"""\
Canvas's Quiz Submission Events: pages post what happens while a student takes a quiz, teachers read the log.

Ids are 1..{MAX_ID} in decimal digits, or `shard~local` (`1~123` is 10000000000123). `.json` or a slash may follow the
path. Submissions from {FIRST_RESERVED_ID} on belong to canaries of the operator, and are unknown to all others.

Errors carry a code; those of a status are listed as `x-codes`, and later versions may add some. A request may
carry `X-Request-Id` (up to 64 letters, digits and hyphens); every answer has one."""

_POST_DESCRIPTION: Final = f"""\
204 means that all events are durable. Sending events again, in whatever company, changes nothing: they are recognised
by type, data and client timestamp.

JSON is taken from `application/json`, any `+json`, `text/plain` and bodies without a type; forms in Rack's notation
(`quiz_submission_events[][event_type]=..`) urlencoded or multipart, their values as strings. At most {MAX_BODY_BYTES}
bytes after decompression (a setting) and {MAX_ELEMENTS} events.

Elements that cannot be stored are kept in quarantine while the others are stored. Where none can be, or with
`Prefer: handling=strict` not all can be, the answer is 422 and nothing is stored; a browser (`Origin`) gets 204 and
quarantine, unless it asked for strictness.

A token that no header can carry may stand as `access_token` beside the events, in a body of at most
{MAX_BODY_WITH_TOKEN_BYTES} bytes; the header wins over it, and it wins over the query."""

_GET_DESCRIPTION: Final = """\
Events of one attempt that came under this course and quiz, oldest first. Without events, or of an unknown submission,
the list is empty. Follow the links: their `as_of` keeps the pages of a growing log together."""

_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request is malformed, or its body is; nothing was stored.",
    401: (
        "The token is missing, bad or expired (with WWW-Authenticate), or lacks the scope of the method (without it)."
        " Never for a fault of ours."
    ),
    403: "The token is bound to another course, quiz, submission or attempt.",
    404: (
        "No such resource: a path id out of range, a submission that is reserved for canaries, or an attempt or page"
        " that cannot be."
    ),
    405: "The resource does not take that method.",
    408: "The body came too slowly; nothing was stored.",
    413: "The body is over a limit; nothing was stored.",
    415: "Another content type, charset or content coding than the documented ones.",
    417: "Only `Expect: 100-continue` is supported.",
    422: (
        "None of the events, or with `Prefer: handling=strict` not all, can be stored; nothing was."
        f" The first {MAX_ERRORS_LISTED} unusable elements are listed by index."
    ),
    429: "Too many requests with this token or for this submission; only where a setting bounds them.",
    431: "The request line or the headers are too large.",
    500: "A bug of ours. Sending a POST again is safe.",
    503: "A fault or an overload of ours. Send the same again after Retry-After; what was stored is recognised.",
}

_HEADERS: Final[Mapping[int, Mapping[str, Schema]]] = {
    401: {"WWW-Authenticate": {"description": "Where the token itself is at fault.", "schema": _TEXT}},
    405: {"Allow": {"description": "The methods there are.", "required": True, "schema": _TEXT}},
    415: {"Accept-Encoding": {"description": "Where the content coding is at fault.", "schema": _TEXT}},
    422: {"Preference-Applied": {"description": "`handling=strict` where it was asked for.", "schema": _TEXT}},
    429: {
        "Retry-After": {
            "description": "Seconds.",
            "required": True,
            "schema": _SECONDS | {"minimum": MIN_RETRY_AFTER_RATE_LIMIT_SECONDS},
        }
    },
    503: {"Retry-After": {"description": "Seconds.", "required": True, "schema": _SECONDS}},
}

_PAGE_HEADERS: Final[Mapping[str, Schema]] = {
    "Link": {
        "description": "RFC 8288, joined by `,`: current, then next, prev where they apply, first, last. No token.",
        "required": True,
        "schema": {"type": "string", "examples": ['<https://quiz.example.edu/..>; rel="current"']},
    },
    "ETag": {"description": "Weak.", "required": True, "schema": {"type": "string", "pattern": '^W/"[^"]+"$'}},
    "Cache-Control": {"required": True, "schema": {"const": "private, no-cache"}},
}


def _phrase(status: int) -> str:
    return _RENAMED.get(status) or HTTPStatus(status).phrase


def openapi_document() -> Mapping[str, object]:
    """Give the document; everything in it can be written as JSON."""
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "quizstream",
            "version": API_VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            PATH: {
                "parameters": [
                    _path_parameter("course_id", f"^({_ID})$"),
                    _path_parameter("quiz_id", f"^({_ID})$"),
                    _path_parameter("id", f"^({_ID}|self)$", "The submission; `self` is the one that the token names."),
                ],
                "post": _post(),
                "get": _get(),
                "head": _head(),
                "options": _options(),
            }
        },
        "components": {
            "schemas": {"Request": REQUEST, "Answer": ANSWER, "Error": ERROR, "Problem": PROBLEM},
            "securitySchemes": _security_schemes(),
        },
    }


def _security_schemes() -> Schema:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": (
                f"HS256, RS256, ES256 or EdDSA; `exp` is required. `scope`, blank-separated, holds `{POST_SCOPE}` to"
                f" post and `{GET_SCOPE}` to read. `course_id`, `quiz_id`, `submission_id`, `attempt` bind the token"
                f" where present; `sub` is kept with the events. `{CANARY_SCOPE}` is for both methods of the reserved"
                " submissions, and for no others."
            ),
        },
        "query_token": {
            "type": "apiKey",
            "in": "query",
            "name": "access_token",
            "description": "The same token, as a last resort: others log addresses.",
        },
    }


def _path_parameter(name: str, pattern: str, description: str = "") -> Schema:
    described = {"description": description} if description else {}
    return {"name": name, "in": "path", "required": True, **described, "schema": {"type": "string", "pattern": pattern}}


def _parameter(place: str, name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": place, "description": description, "schema": schema}


def _attempt_parameter(description: str) -> Schema:
    return _parameter("query", "attempt", description, {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPT})


def _post() -> Schema:
    return {
        "operationId": "submitEvents",
        "summary": "Store events",
        "description": _POST_DESCRIPTION,
        "security": _SECURITY,
        "parameters": [
            _attempt_parameter("The attempt of all these events, unless the body names one; absent: the latest."),
            _parameter("header", "Prefer", "RFC 7240: `handling=strict` stores all or nothing.", _TEXT),
            _parameter(
                "header",
                "Content-Encoding",
                f"How the body is compressed: {', '.join(CONTENT_CODINGS)}, several in the order of their use.",
                _TEXT,
            ),
        ],
        "requestBody": {"required": True, "content": _bodies()},
        "responses": {
            "204": {
                "description": "All events are durable, but for those in quarantine.",
                "headers": {
                    "Quiz-Events-Quarantined": {
                        "description": "How many elements are kept in quarantine; absent where none is.",
                        "schema": _SECONDS | {"maximum": MAX_ELEMENTS},
                    }
                },
            },
            **_errors(POST_CODES),
        },
    }


def _bodies() -> Schema:
    request: Schema = {"$ref": "#/components/schemas/Request"}
    form: Schema = {
        "description": "Rack's notation; a scalar member that the last event has already begins the next one.",
        "type": "object",
        "properties": {
            "quiz_submission_events[][event_type]": _TEXT,
            "quiz_submission_events[][client_timestamp]": _TEXT,
            "quiz_submission_events[][event_data]": _TEXT,
            "attempt": _TEXT,
            "access_token": _TEXT,
        },
        "additionalProperties": _TEXT,
    }
    as_text: Schema = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": request,
        "examples": ['{"quiz_submission_events":[{"event_type":"page_blurred"}]}'],
    }
    return {
        "application/json": {"schema": request},
        "application/vnd.api+json": {"schema": request},
        "text/plain": {"schema": as_text},
        "application/x-www-form-urlencoded": {"schema": form},
        "multipart/form-data": {"schema": form},
    }


def _reading(operation_id: str, summary: str) -> Schema:
    digits: Schema = {"type": "integer", "minimum": 1}
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": _SECURITY,
        "parameters": [
            _attempt_parameter("The attempt to be read; absent: the latest."),
            _parameter("query", "page", "The number of the page, from 1; behind the end it is empty.", digits),
            _parameter(
                "query",
                "per_page",
                f"Events of a page. More than {MAX_PER_PAGE} (a setting) is clamped; no positive number counts as 1.",
                digits | {"default": DEFAULT_PER_PAGE},
            ),
            _parameter(
                "query", "as_of", "The largest id to be seen; it comes with links.", {"type": "integer", "minimum": 0}
            ),
            _parameter(
                "query",
                "include[]",
                "Members to add to each event.",
                {"type": "array", "items": {"enum": list(INCLUDABLE)}},
            ),
            _parameter("header", "If-None-Match", "RFC 9110: an ETag of this page that is already there.", _TEXT),
        ],
    }


def _get() -> Schema:
    page: Schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    return {
        **_reading("showEvents", "Read the log of an attempt"),
        "description": _GET_DESCRIPTION,
        "responses": {
            "200": {"description": "A page.", "headers": _PAGE_HEADERS, "content": page},
            "304": {"description": "The page is as the client knows it.", "headers": _PAGE_HEADERS},
            **_errors(GET_CODES),
        },
    }


def _head() -> Schema:
    return {
        **_reading("probeEvents", "The same without the body"),
        "responses": {
            "200": {"description": "A page, left out.", "headers": _PAGE_HEADERS},
            "304": {"description": "The page is as the client knows it.", "headers": _PAGE_HEADERS},
            **_errors(GET_CODES, with_body=False),
        },
    }


def _options() -> Schema:
    allow: Schema = {"description": "The methods there are.", "required": True, "schema": _TEXT}
    return {
        "operationId": "preflight",
        "summary": "Ask what a page of another origin may do",
        "description": "The CORS headers of the Fetch standard are there for origins that a setting lists.",
        "security": [],
        "responses": {
            "204": {"description": "The answer to a preflight.", "headers": {"Allow": allow}},
            **_errors(OPTIONS_CODES),
        },
    }


def _errors(codes: Codes, *, with_body: bool = True) -> Schema:
    return {str(status): _error(status, of_status, with_body=with_body) for status, of_status in sorted(codes.items())}


def _error(status: int, codes: tuple[str, ...], *, with_body: bool) -> Schema:
    content: Schema = {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}},
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
    }
    headers = _HEADERS.get(status)
    return {
        "description": f"{_phrase(status)}. {_MEANINGS[status]}",
        "x-codes": list(codes),
        **({"headers": headers} if headers else {}),
        **({"content": content} if with_body else {}),
    }


def _standing_alone(name: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:quizstream:{name}:v1", **schema}


PUBLISHED: Final[Mapping[str, Mapping[str, object]]] = {
    "openapi.json": openapi_document(),
    "request.schema.json": _standing_alone("request", REQUEST),
    "answer.schema.json": _standing_alone("answer", ANSWER),
    "error.schema.json": _standing_alone("error", ERROR),
}
"""The files of `schemas/` that this code gives."""


def published(name: str) -> str:
    """Give the text of a file of `PUBLISHED`."""
    return json.dumps(PUBLISHED[name], indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(published(sys.argv[1] if len(sys.argv) > 1 else "openapi.json"))
