"""What the worker's loop tells its metrics and its health."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from quizstream.contracts import metrics
from quizstream.contracts.reasons import reason_label
from quizstream.runtime.telemetry import Meters
from quizstream.worker.backlog import Unstored
from quizstream.worker.batch import Batch, TopicPartition
from quizstream.worker.months import months_between
from quizstream.worker.sqlstate import Verdict
from quizstream.worker.store import Position, Written

_OUTCOMES: Final[Mapping[Verdict, str]] = {"refused": "bisected", "month_missing": "bisected", "outage": "failed"}

Task = Literal["months", "retention", "canaries"]


class Observer:
    """Turns what happened into metrics; keeps which partitions have been given up."""

    def __init__(self, meters: Meters) -> None:
        self._flushes = meters.counter(metrics.FLUSHES)
        self._seconds = meters.histogram(metrics.FLUSH_DURATION)
        self._rows = meters.histogram(metrics.FLUSH_ROWS)
        self._stored = meters.counter(metrics.EVENTS_STORED)
        self._repeated = meters.counter(metrics.EVENTS_DEDUPLICATED)
        self._quarantined = meters.counter(metrics.EVENTS_QUARANTINED)
        self._paths = meters.counter(metrics.MERGE_PATH)
        self._rebalances = meters.counter(metrics.REBALANCES)
        self._offsets = meters.gauge(metrics.STORED_OFFSET)
        self._committed = meters.gauge(metrics.COMMITTED_OFFSET)
        self._age = meters.gauge(metrics.OLDEST_UNSTORED_EVENT_AGE)
        self._unstored: Mapping[TopicPartition, Unstored] = {}
        self.stored_until: dict[TopicPartition, int] = {}  # as far as this worker has placed and written
        self._age.set_function(self._age_seconds)
        self._given_up: set[TopicPartition] = set()
        self._deliveries = 0
        self._replaced = meters.counter(metrics.CONSUMERS_REPLACED)
        self._months_dropped = meters.counter(metrics.MONTHS_DROPPED)
        self._last_month: datetime | None = None
        self._upkeep = meters.gauge(metrics.UPKEEP_DONE)
        meters.gauge(metrics.MONTHS_AHEAD).set_function(self._months_left)

    @property
    def given_up(self) -> Collection[TopicPartition]:
        """The partitions that wait for an operator."""
        return self._given_up

    @property
    def deliveries(self) -> int:
        """How often records have come."""
        return self._deliveries

    def placed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Partitions are read from these positions on."""
        self._rebalances.inc()
        self._given_up &= set(positions)
        self._offsets.clear()
        self._committed.clear()
        self.stored_until = {key: position.next_offset for key, position in positions.items()}
        for (topic, partition), position in positions.items():
            self._offsets.labels(topic, str(partition)).set(position.next_offset)

    def partition_stopped(self, partition: TopicPartition) -> None:
        """A partition is read no more until an operator decides."""
        self._given_up.add(partition)

    def gathered(self, batch: Batch) -> None:
        """These records are about to be written."""
        self._deliveries += bool(batch)

    def flushed(self, written: Written, seconds: float) -> None:
        """A transaction was committed."""
        self.stored_until.update(written.next_offsets)
        self._flushes.labels("committed").inc()
        self._seconds.observe(seconds)
        self._rows.observe(written.stored)
        self._stored.inc(written.stored)
        self._repeated.inc(written.repeated)
        self._paths.labels("merge" if written.merged else "copy").inc()
        for row in written.quarantined:
            self._quarantined.labels(reason_label(row.reason)).inc()
        for (topic, partition), offset in written.next_offsets.items():
            self._offsets.labels(topic, str(partition)).set(offset)

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """The group was told how far the store is."""
        for (topic, partition), offset in next_offsets.items():
            self._committed.labels(topic, str(partition)).set(offset)

    def unstored_seen(self, unstored: Mapping[TopicPartition, Unstored]) -> None:
        """The log goes on behind what is stored, with these records first."""
        self._unstored = unstored

    def flush_failed(self, found: Verdict) -> None:
        """A transaction was rolled back; what follows depends on the verdict."""
        self._flushes.labels(_OUTCOMES.get(found, "retried")).inc()

    def consumer_replaced(self) -> None:
        """A consumer got nothing although the log had more."""
        self._replaced.inc()

    def months_seen(self, last: datetime | None) -> None:
        """Events can be filed up to this month; None: not even under the present one."""
        self._last_month = last

    def months_dropped(self, months: int) -> None:
        """So many months have reached the end of their retention."""
        self._months_dropped.inc(months)

    def kept_up(self, task: Task) -> None:
        """A task was done to its end, or is about to be tried for the first time."""
        self._upkeep.labels(task).set_to_current_time()

    def _months_left(self) -> float:
        now = datetime.now(UTC)
        return -1.0 if self._last_month is None else float(months_between(now, self._last_month))

    def _age_seconds(self) -> float:
        """Leave out what was stored since it was seen."""
        waiting = [
            one.appended_at_ms for key, one in self._unstored.items() if one.offset >= self.stored_until.get(key, 0)
        ]
        return max(0.0, time.time() - min(waiting) / 1000) if waiting else 0.0
