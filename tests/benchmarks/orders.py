"""What the load generator is told, and what it reports: one JSON document each way."""

import msgspec


class Order(msgspec.Struct, kw_only=True):
    """Requests to send: `heads` in turn, each with `body` pieces joined by the time of sending.

    Without `rate` each connection sends as soon as it has its answer; with it, requests per second are sent as
    planned, and latencies count from the planned moment, so that a server that stalls is not asked less.
    """

    ports: list[int]
    heads: list[str]
    body: list[str]
    connections: int
    seconds: float
    warm_up_seconds: float = 0.7
    rate: float | None = None
    expected_status: int = 204
    watched: dict[str, list[int]] = {}


class Report(msgspec.Struct, kw_only=True):
    """What came of it. `answered` counts the measured seconds, `acknowledged` everything from the first request on.

    `first_request_at` is a time of the system's monotonic clock, which all processes share.
    """

    first_request_at: float
    answered: int
    acknowledged: int
    unexpected: dict[str, int]
    unanswered: int
    answer_bytes: int
    wall_seconds: float
    latency_seconds: dict[str, float]
    late_seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    peak_rss_bytes: dict[str, int]
