"""Which pages of other origins may call the API (Fetch standard, "CORS protocol")."""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

# Chromium remembers a preflight for two hours at most, Firefox for a day.
MAX_AGE_SECONDS: Final = 7_200
REQUEST_HEADERS: Final = (
    "Accept, Authorization, Content-Encoding, Content-Type, If-None-Match, Prefer, Traceparent, "
    "X-CSRF-Token, X-Request-Id, X-Requested-With"  # the page of Canvas adds the first and the last
)
EXPOSED_HEADERS: Final = "Link, ETag, Retry-After, Quiz-Events-Quarantined, Preference-Applied"


class AllowedOrigins:
    """An allow-list. A listed origin gets its own name back and may send credentials; others get no CORS header."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins) - {"null", "*"}

    def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Add what a page of a listed origin needs to read this answer, and `Vary` for caches."""
        if not self._origins:
            return
        add_vary(response, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin in self._origins and origin is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS

    def preflight(self, request: web.BaseRequest, allow: str) -> web.Response:
        """Answer OPTIONS for a resource with the methods `allow`; `mark` adds the origin."""
        response = web.Response(status=204, headers={hdrs.ALLOW: allow})
        asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if asked and request.headers.get(hdrs.ORIGIN) in self._origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = allow
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = REQUEST_HEADERS
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(MAX_AGE_SECONDS)
        return response


def add_vary(response: web.StreamResponse, name: str) -> None:
    """Name a request header on which this answer depends, beside those that are named already."""
    named = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{named}, {name}" if named else name
