"""JSON Schemas (draft 2020-12) of what the API takes and gives, as data.

Of a request the schema says what is stored whole. What it does not allow is refused, or kept in quarantine where other
elements of the request are good. Some of what it allows is refused all the same, for what JSON Schema cannot state:
depth, bytes, lone surrogates in `event_type`, the digits of a number that is one.
"""

from typing import Final

from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.contracts.records import MAX_EVENT_TYPE_CHARACTERS
from quizstream.contracts.resources import MAX_ATTEMPT

Schema = dict[str, object]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_SECONDS: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_MILLISECONDS: Final = _SECONDS.replace("Z$", r"\.[0-9]{3}Z$")
_ATTEMPT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPT}
_EVENT_TYPE: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_EVENT_TYPE_CHARACTERS,
    "pattern": r"^[^\u0000]+$",
}

REQUEST: Final[Schema] = {
    "title": "Body of a POST",
    "description": "Members that are not named here are ignored.",
    "type": "object",
    "required": ["quiz_submission_events"],
    "properties": {
        "quiz_submission_events": {
            "type": "array",
            "maxItems": MAX_ELEMENTS,
            "items": {
                "anyOf": [
                    {
                        "description": "An event. Members that are not named are ignored, such as id and created_at.",
                        "type": "object",
                        "required": ["event_type"],
                        "properties": {
                            "event_type": {
                                "description": "Such as page_blurred. A number or boolean becomes its text.",
                                "anyOf": [_EVENT_TYPE, {"type": ["number", "boolean"]}],
                            },
                            "client_timestamp": {
                                "description": (
                                    "When it happened: RFC 3339, or what is usual in its place. Best with"
                                    " milliseconds, by which a second event is told from a repetition. What cannot be"
                                    " read or believed never refuses the event."
                                ),
                                "examples": ["2026-11-21T19:24:17.393Z"],
                            },
                            "event_data": {"description": "Any JSON value; it comes back as the text that was sent."},
                        },
                    },
                    {"description": "An event of this type, and nothing else about it.", **_EVENT_TYPE},
                ]
            },
        },
        "attempt": {
            "description": "The attempt of all these events; absent or null: the latest of the submission.",
            "anyOf": [
                _ATTEMPT,
                {"type": "string", "maxLength": 19, "pattern": "^0*([1-9][0-9]{0,3}|10000)$"},
                {"type": "null"},
            ],
        },
        "access_token": {"description": "The token, where no header can carry it; in bodies of at most 64 KiB."},
    },
}

ANSWER: Final[Schema] = {
    "title": "A page of the log of an attempt",
    "type": "object",
    "required": ["quiz_submission_events"],
    "properties": {
        "quiz_submission_events": {
            "description": "Ordered by time of full precision, then id.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "event_type", "event_data", "created_at"],
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9]+$"},
                    "event_type": _EVENT_TYPE,
                    "event_data": {"description": "Any JSON value, as it was sent; null where there was none."},
                    "created_at": {
                        "description": "When it happened, else when it was received; UTC, whole seconds.",
                        "type": "string",
                        "format": "date-time",
                        "pattern": _SECONDS,
                    },
                    "client_timestamp": {
                        "description": "The text that the client sent. Only with include[].",
                        "type": ["string", "null"],
                    },
                    "received_at": {
                        "description": "When it was received; UTC, milliseconds. Only with include[].",
                        "type": "string",
                        "format": "date-time",
                        "pattern": _MILLISECONDS,
                    },
                    "attempt": {"description": "Only with include[].", **_ATTEMPT},
                },
            },
        }
    },
}

_ERRORS: Final[Schema] = {
    "description": "The first entry is about the request; further ones are about the first unusable elements.",
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["message", "code"],
        "properties": {
            "message": {"description": "For people. It quotes nothing that was sent.", "type": "string"},
            "code": {
                "description": "For programs. Codes may be added, those there are stay.",
                "type": "string",
                "pattern": "^[a-z][a-z0-9_]*$",
            },
            "index": {"description": "Of the element, from 0.", "type": "integer", "minimum": 0},
        },
    },
}

ERROR: Final[Schema] = {
    "title": "What every 4xx and 5xx says",
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": _ERRORS},
}

PROBLEM: Final[Schema] = {
    "title": "The same with the members of RFC 9457, for who accepts application/problem+json",
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": _ERRORS,
    },
}
