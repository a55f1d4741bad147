"""Which records of a partition continue the store."""

from collections.abc import Sequence
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

    def admit(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        """Give those of these records, in the order of the log, that continue the store, and move on behind them.

        What comes behind a gap is not given: then `expected` is still within, or before, the records. Reading again
        from there shows whether the gap is the log's own.

        Raises:
            TopicMadeAnew: the record before the expected one is not the one that was stored.

        """
        if records and records[0].offset < self.expected:
            records = self._new(records)
        if not records or (records[0].offset > self.expected and not self.just_placed):
            return ()
        run = _until_gap(records)
        self.appended_at_ms = None
        self.just_placed = False
        self.expected = run[-1].offset + 1
        return run

    def _new(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        old = [record for record in records if record.offset < self.expected]
        for record in old:
            self._check(record)
        return records[len(old) :]

    def _check(self, record: LogRecord) -> None:
        if self.appended_at_ms is None or record.offset != self.expected - 1:
            return
        if record.timestamp != self.appended_at_ms:
            raise TopicMadeAnew(self.partition, f"record {record.offset} is not the one that was stored")
        self.appended_at_ms = None


def _until_gap(records: Sequence[LogRecord]) -> Sequence[LogRecord]:
    first = records[0].offset
    if records[-1].offset - first == len(records) - 1:
        return records
    return [record for number, record in enumerate(records) if record.offset == first + number]
