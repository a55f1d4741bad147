"""What the gateway counts; the names are in `contracts.metrics`."""

from typing import Final

from quizstream.contracts import metrics
from quizstream.runtime.telemetry import Meters


class Measures:
    """The gateway's own metrics, looked up once."""

    def __init__(self, meters: Meters) -> None:
        received = meters.counter(metrics.EVENTS_RECEIVED)
        self.events_accepted: Final = received.labels("accepted")
        self.events_quarantined: Final = received.labels("quarantined")
        self.events_refused: Final = received.labels("refused")
        batches = meters.counter(metrics.PUBLISH_BATCHES)
        self.batches_acknowledged: Final = batches.labels("acknowledged")
        self.batches_failed: Final = batches.labels("failed")
        self.publish_seconds: Final = meters.histogram(metrics.PUBLISH_DURATION)
        self.request_events: Final = meters.histogram(metrics.REQUEST_EVENTS)
        skew = meters.histogram(metrics.CLOCK_SKEW)
        self.clock_behind_seconds: Final = skew.labels("behind")
        self.clock_ahead_seconds: Final = skew.labels("ahead")
        self.inflight_bytes: Final = meters.gauge(metrics.INFLIGHT_BYTES)
        self.inflight_limit_bytes: Final = meters.gauge(metrics.INFLIGHT_LIMIT_BYTES)
