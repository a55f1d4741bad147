"""Which records of a partition continue the store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quizstream.worker.batch import TopicPartition
from quizstream.worker.decode import LogRecord


class TopicMadeAnew(Exception):  # noqa: N818  a situation, which only an operator can decide
    """The log does not hold what was stored from it: the topic was deleted and made anew, or lost its end."""

    def __init__(self, partition: TopicPartition, reason: str) -> None:
        topic, number = partition
        super().__init__(
            f"topic {topic}, partition {number}: {reason}; if the topic was made anew on purpose, run "
            "`quizstream migrate --adopt-topic`"
        )


class RecordsMissing(Exception):  # noqa: N818  a situation, answered by reading again from the expected offset
    """What came does not continue what came before."""


@dataclass(slots=True)
class Cursor:
    """Where one partition is read.

    `expected` is the next record to take. `appended_at_ms` is the LogAppendTime that the record before it had when it
    was stored, so that another log under the same name is noticed; None where that is not to be checked.
    `just_placed`: the client was told to read from `expected`, so what comes first is what the log has there.
    """

    partition: TopicPartition
    expected: int
    appended_at_ms: int | None = None
    just_placed: bool = True

    @property
    def read_from(self) -> int:
        """The offset to seek to: one record earlier where there is something to check."""
        return self.expected if self.appended_at_ms is None else self.expected - 1

    def admit(self, records: Iterable[LogRecord]) -> Iterator[LogRecord]:
        """Give the records that continue the store and move on behind them.

        Raises:
            TopicMadeAnew: the record before the expected one is not the one that was stored.
            RecordsMissing: there is a gap, and it is not the log's own.

        """
        for record in records:
            if record.offset < self.expected:
                self._check(record)
                continue
            if record.offset > self.expected and not self.just_placed:
                raise RecordsMissing
            self.appended_at_ms = None
            self.just_placed = False
            self.expected = record.offset + 1
            yield record

    def _check(self, record: LogRecord) -> None:
        if self.appended_at_ms is None or record.offset != self.expected - 1:
            return
        if record.timestamp != self.appended_at_ms:
            raise TopicMadeAnew(self.partition, f"record {record.offset} is not the one that was stored")
        self.appended_at_ms = None
