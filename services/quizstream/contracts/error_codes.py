"""The codes that errors carry, by status: the closed list of this version, which later ones only add to.

Clients decide by the status first: a code that they do not know is an error of its status.
"""

from collections.abc import Mapping
from typing import Final

Codes = Mapping[int, tuple[str, ...]]

# Whatever the method: refused by the HTTP parser or the router, or a bug of ours.
_ANY_REQUEST: Final[Codes] = {
    400: ("bad_request",),
    404: ("not_found",),
    405: ("method_not_allowed",),
    417: ("expectation_failed",),
    431: ("headers_too_large",),
    500: ("internal_error",),
    503: ("too_many_connections",),
}

_AUTHORISED: Final[Codes] = {
    401: (
        "token_missing",
        "token_malformed",
        "token_algorithm",
        "token_signature",
        "token_without_expiry",
        "token_expired",
        "token_not_yet_valid",
        "token_issuer",
        "token_audience",
        "claim_malformed",
        "insufficient_scope",
    ),
    403: ("resource_forbidden", "attempt_forbidden"),
    429: ("rate_limited",),
}

POST_CODES: Final[Codes] = {
    **_ANY_REQUEST,
    **_AUTHORISED,
    400: (
        *_ANY_REQUEST[400],
        "body_incomplete",
        "compression_broken",
        "not_utf8",
        "json_malformed",
        "too_deep",
        "boundary_missing",
        "multipart_malformed",
        "form_conflict",
        "events_missing",
        "events_not_array",
        "attempt_invalid",
    ),
    408: ("body_too_slow", "request_timeout"),
    413: ("body_too_large", "too_many_events", "too_many_fields", "form_too_complex"),
    415: ("content_type_unsupported", "charset_unsupported", "content_encoding_unsupported", "unsupported_media_type"),
    422: (
        "events_unusable",
        "element_not_object",
        "event_type_missing",
        "event_type_invalid",
        "event_type_empty",
        "event_type_too_long",
        "event_type_unstorable",
    ),
    503: (*_ANY_REQUEST[503], "overloaded", "submission_overloaded", "too_late", "log_unavailable", "keys_unavailable"),
}

GET_CODES: Final[Codes] = {
    **_ANY_REQUEST,
    **_AUTHORISED,
    503: (*_ANY_REQUEST[503], "busy", "store_unavailable", "log_changed", "keys_unavailable"),
}

OPTIONS_CODES: Final[Codes] = _ANY_REQUEST
