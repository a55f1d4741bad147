"""Every metric there is: a closed list, published in deploy/METRICS.md, tested against what the processes show.

Names have the prefix `quizstream_` and base units (seconds, bytes); counters end in `_total`. A label's values are a
small closed set known beforehand; none is an id or comes from a client. `route` is the template of the route, and
`unmatched` where there is none; `method` is `other` for methods that HTTP does not define.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

# Around the promise of 1 s, and up to patience that is long.
FRESHNESS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# From a quick answer to the deadline of 5 s and one step beyond, as OpenTelemetry advises for HTTP durations.
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Up to the rows of the largest flush and the elements of the largest request.
COUNTS: Final = (1.0, 5.0, 20.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0)
# How far clients' clocks are off: from within a second to the days after which a stamp is not believed.
SKEWS: Final = (1.0, 5.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0, 604_800.0, 2_678_400.0)


class CounterMetric(NamedTuple):
    """A number that only grows."""

    name: str
    documentation: str
    labels: Sequence[str] = ()
    kind: Literal["counter"] = "counter"


class GaugeMetric(NamedTuple):
    """A number that goes up and down."""

    name: str
    documentation: str
    labels: Sequence[str] = ()
    kind: Literal["gauge"] = "gauge"


class HistogramMetric(NamedTuple):
    """A distribution; `buckets` are upper bounds, ascending."""

    name: str
    documentation: str
    labels: Sequence[str]
    buckets: Sequence[float]
    kind: Literal["histogram"] = "histogram"


Metric = CounterMetric | GaugeMetric | HistogramMetric

# Every process.
BUILD_INFO: Final = GaugeMetric("quizstream_build_info", "1, with the version as label.", ("version", "process"))
HOP_UP: Final = GaugeMetric(
    "quizstream_hop_up", "1 while the named dependency answers, 0 after 10 s without.", ("hop",)
)

# Both HTTP services.
HTTP_REQUESTS: Final = CounterMetric(
    "quizstream_http_requests_total",
    "Requests answered; status 499: the client left before.",
    ("route", "method", "status"),
)
HTTP_REQUEST_DURATION: Final = HistogramMetric(
    "quizstream_http_request_duration_seconds",
    "From the end of the headers to the answer.",
    ("route", "method"),
    DURATIONS,
)
HTTP_REQUESTS_RUNNING: Final = GaugeMetric("quizstream_http_requests_running", "Requests that are being worked on.")
HTTP_CONNECTIONS: Final = GaugeMetric("quizstream_http_connections", "Connections that are open.")
HTTP_CONNECTIONS_LIMIT: Final = GaugeMetric(
    "quizstream_http_connections_limit", "Bound of quizstream_http_connections."
)
HTTP_CONNECTIONS_CLOSED: Final = CounterMetric(
    "quizstream_http_connections_closed_total",
    "Closed by us; reason: idle (made room), refused (there was no room), slow (the head did not come in time).",
    ("reason",),
)
TOKEN_KEYS: Final = GaugeMetric("quizstream_token_keys", "Keys by which tokens are verified.")
TOKEN_KEYS_CURRENT: Final = GaugeMetric(
    "quizstream_token_keys_current", "1 while every source of keys could be read when last tried, else 0."
)

# Gateway.
EVENTS_RECEIVED: Final = CounterMetric(
    "quizstream_events_received_total",
    "Elements of requests; outcome: accepted (published), quarantined (published as such), refused (nothing stored).",
    ("outcome",),
)
PUBLISH_DURATION: Final = HistogramMetric(
    "quizstream_publish_duration_seconds",
    "From handing a request's records over to their acknowledgement.",
    (),
    DURATIONS,
)
PUBLISH_BATCHES: Final = CounterMetric(
    "quizstream_publish_batches_total", "Batches sent to Kafka; outcome: acknowledged, failed.", ("outcome",)
)
INFLIGHT_BYTES: Final = GaugeMetric(
    "quizstream_inflight_bytes", "Bytes of bodies and records held for requests that are not answered yet."
)
INFLIGHT_LIMIT_BYTES: Final = GaugeMetric("quizstream_inflight_limit_bytes", "Bound of quizstream_inflight_bytes.")
REQUEST_EVENTS: Final = HistogramMetric("quizstream_request_events", "Elements in a request.", (), COUNTS)
CLOCK_SKEW: Final = HistogramMetric(
    "quizstream_clock_skew_seconds",
    "Distance between the newest stamp of a request and its receipt; direction: behind, ahead.",
    ("direction",),
    SKEWS,
)

# Worker.
FLUSHES: Final = CounterMetric(
    "quizstream_flushes_total", "Flush transactions; outcome: committed, retried, bisected, failed.", ("outcome",)
)
FLUSH_DURATION: Final = HistogramMetric(
    "quizstream_flush_duration_seconds", "A flush transaction, begin to commit.", (), DURATIONS
)
FLUSH_ROWS: Final = HistogramMetric("quizstream_flush_rows", "Rows that a flush wrote.", (), COUNTS)
EVENTS_STORED: Final = CounterMetric("quizstream_events_stored_total", "Events that became rows.")
EVENTS_DEDUPLICATED: Final = CounterMetric(
    "quizstream_events_deduplicated_total", "Events recognised as sent again, of which the store had the row."
)
EVENTS_QUARANTINED: Final = CounterMetric(
    "quizstream_events_quarantined_total", "Elements and records put into quarantine, by reason.", ("reason",)
)
REBALANCES: Final = CounterMetric("quizstream_rebalances_total", "Assignments of partitions to this worker.")
STORED_OFFSET: Final = GaugeMetric(
    "quizstream_stored_offset", "Offset up to which a partition is in the store.", ("topic", "partition")
)
COMMITTED_OFFSET: Final = GaugeMetric(
    "quizstream_committed_offset", "Offset committed to Kafka, for lag displays only.", ("topic", "partition")
)
OLDEST_UNSTORED_EVENT_AGE: Final = GaugeMetric(
    "quizstream_oldest_unstored_event_age_seconds",
    "Age of the oldest record of the log that is not stored, read or not; 0: none.",
)
MERGE_PATH: Final = CounterMetric(
    "quizstream_merge_path_total", "How flushes wrote; path: copy (straight), merge (with known duplicates).", ("path",)
)
CONSUMERS_REPLACED: Final = CounterMetric(
    "quizstream_consumers_replaced_total", "Consumers that got nothing, although the log had more, and were replaced."
)
MONTHS_AHEAD: Final = GaugeMetric(
    "quizstream_months_ahead", "Months after this one that events can be filed under; below 0 nothing can be stored."
)
MONTHS_DROPPED: Final = CounterMetric(
    "quizstream_months_dropped_total", "Months of events that were dropped at the end of their retention."
)
UPKEEP_DONE: Final = GaugeMetric(
    "quizstream_upkeep_done_timestamp_seconds",
    "When this worker last did, to its end, what is due every few hours, or else when it began to try;"
    " task: months (made ahead), retention (where configured), canaries (removed).",
    ("task",),
)

# Reader.
ANSWERS: Final = CounterMetric(
    "quizstream_answers_total", "Logs answered; outcome: complete, not_modified, broken.", ("outcome",)
)
ANSWER_ROWS: Final = HistogramMetric("quizstream_answer_rows", "Events in an answer.", (), COUNTS)
ANSWER_BYTES: Final = CounterMetric("quizstream_answer_bytes_total", "Bytes of answered logs.")
READINGS: Final = CounterMetric(
    "quizstream_readings_total", "Connections taken to read with; server: primary, replica.", ("server",)
)
REPLICA_BEHIND: Final = GaugeMetric(
    "quizstream_replica_behind_seconds",
    "How old what the replica shows may be, at most; +Inf: unknown; 0 where none is configured.",
)

# Canary.
CANARY_READABLE: Final = HistogramMetric(
    "quizstream_canary_readable_seconds", "From the 204 of a canary to the answer that shows it.", (), FRESHNESS
)
CANARY_FAILURES: Final = CounterMetric(
    "quizstream_canary_failures_total",
    "Canaries that did not pass; hop: post, store (taken, but not readable in time), get.",
    ("hop",),
)

PROCESS_METRICS: Final = (BUILD_INFO, HOP_UP)
HTTP_METRICS: Final = (
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS_RUNNING,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_LIMIT,
    HTTP_CONNECTIONS_CLOSED,
    TOKEN_KEYS,
    TOKEN_KEYS_CURRENT,
)
GATEWAY_METRICS: Final = (
    EVENTS_RECEIVED,
    PUBLISH_DURATION,
    PUBLISH_BATCHES,
    INFLIGHT_BYTES,
    INFLIGHT_LIMIT_BYTES,
    REQUEST_EVENTS,
    CLOCK_SKEW,
)
WORKER_METRICS: Final = (
    FLUSHES,
    FLUSH_DURATION,
    FLUSH_ROWS,
    EVENTS_STORED,
    EVENTS_DEDUPLICATED,
    EVENTS_QUARANTINED,
    REBALANCES,
    STORED_OFFSET,
    COMMITTED_OFFSET,
    OLDEST_UNSTORED_EVENT_AGE,
    MERGE_PATH,
    CONSUMERS_REPLACED,
    MONTHS_AHEAD,
    MONTHS_DROPPED,
    UPKEEP_DONE,
)
READER_METRICS: Final = (ANSWERS, ANSWER_ROWS, ANSWER_BYTES, READINGS, REPLICA_BEHIND)
CANARY_METRICS: Final = (CANARY_READABLE, CANARY_FAILURES)
# What the client library of Prometheus reads from the system, in every process.
COLLECTED_METRICS: Final = (
    CounterMetric("quizstream_process_cpu_seconds_total", "Time of a processor that was used, user and system."),
    GaugeMetric("quizstream_process_resident_memory_bytes", "Memory that is held."),
    GaugeMetric("quizstream_process_virtual_memory_bytes", "Addresses that are mapped, held or not."),
    GaugeMetric("quizstream_process_start_time_seconds", "When the process began, since 1970."),
    GaugeMetric("quizstream_process_open_fds", "Descriptors that are open."),
    GaugeMetric("quizstream_process_max_fds", "Descriptors that may be open."),
)
METRICS: Final[Sequence[Metric]] = (
    *PROCESS_METRICS,
    *HTTP_METRICS,
    *GATEWAY_METRICS,
    *WORKER_METRICS,
    *READER_METRICS,
    *CANARY_METRICS,
)
