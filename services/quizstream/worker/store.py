"""One flush: rows, quarantine, attempts and offsets of some partitions in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg

from quizstream.runtime import crash_points
from quizstream.runtime.postgres import UNREACHABLE, Connection, connection, load_statements
from quizstream.worker.attempts import walk
from quizstream.worker.batch import Batch, PartitionBatch, QuarantineRow, TopicPartition
from quizstream.worker.copy_rows import COLUMNS, EventRow, encode_slices
from quizstream.worker.decode import quarantine_id_of, refuse
from quizstream.worker.event import DELIMITER, QUOTE, Event
from quizstream.worker.redelivery import EventKey, MergeChoice, RecentIds, filed_by_receipt, without_repetitions
from quizstream.worker.sqlstate import verdict

APPLICATION_NAME: Final = "quizstream-worker"
PARTITIONS_PER_ID: Final = 4096

_SQL: Final = load_statements("quizstream.worker", "sql/store.sql")


class Position(NamedTuple):
    """Where a partition stands in the store. `last_appended_at_ms` is that of the record before `next_offset`."""

    next_offset: int
    last_appended_at_ms: int | None


class Written(NamedTuple):
    """What a flush did. `left_out`: partitions that stood elsewhere than the batch began, with where they stand.

    `merged`: rows went through the temporary table.
    """

    next_offsets: Mapping[TopicPartition, int]
    left_out: Mapping[TopicPartition, int]
    stored: int
    repeated: int
    quarantined: Sequence[QuarantineRow]
    merged: bool


class Inserted(NamedTuple):
    """How many rows are new, and the quarantine rows of those that the database refused."""

    stored: int
    refused: Sequence[QuarantineRow] = ()
    merged: bool = False

    def plus(self, other: "Inserted") -> "Inserted":
        """Add what another part of the same flush did."""
        return Inserted(self.stored + other.stored, (*self.refused, *other.refused), self.merged or other.merged)


class Store:
    """The worker's side of PostgreSQL: one connection, opened when needed and dropped when it fails.

    Not for concurrent use: one flush at a time.
    """

    def __init__(self, database_url: str, *, holder_patience_seconds: float = 3) -> None:
        self._database_url = database_url
        self._holder_patience_seconds = holder_patience_seconds
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._placed_on: object = None
        self._recent = RecentIds()
        self._choice = MergeChoice()

    async def close(self) -> None:
        """Drop the connection; what it was doing is rolled back."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def positions(self, beginnings: Mapping[TopicPartition, int]) -> dict[TopicPartition, Position]:
        """Give where partitions stand; one never seen begins at its given beginning.

        Raises:
            asyncpg.PostgresError, OSError: the store does not answer.

        """
        self._recent.clear()
        names = _columns(beginnings)
        async with self._transaction() as session:
            await session.execute(_SQL["add_offsets"], *names, list(beginnings.values()))
            rows = await session.fetch(_SQL["read_offsets"], *names)
            self._placed_on = session
        return {
            TopicPartition(row["topic"], row["partition"]): Position(row["next_offset"], row["last_appended_at_ms"])
            for row in rows
        }

    @property
    def was_interrupted(self) -> bool:
        """Whether the session that gave the positions has ended: the next may find a store that was set back.

        A partition that nobody writes to would not notice: its rows would be missing until its next event.
        """
        return self._connection is None or self._connection.is_closed() or self._connection is not self._placed_on

    async def ping(self) -> None:
        """Ask the server for an answer, on the connection of the flushes."""
        async with self._transaction() as session:
            await session.execute("SELECT 1")

    async def write(
        self, batch: Batch, *, isolate: bool = False, also_refused: Collection[str] = frozenset()
    ) -> Written:
        """Write a batch and move the offsets, in one transaction.

        A partition whose stored offset is not where its records begin is left out: another worker wrote it, or the
        store was restored, or an earlier commit of this very batch succeeded unnoticed. With `isolate`, rows that the
        database refuses by value are found by bisection and quarantined; `also_refused` names SQLSTATEs that count as
        such a refusal here.

        Raises:
            asyncpg.PostgresError: `sqlstate.verdict` tells what to do; nothing was written.
            OSError, asyncpg.InterfaceError: the connection was lost. Whether the transaction was committed shows when
                the batch is written again, as the offsets are read under lock.

        """
        async with self._transaction() as session:
            fenced = await self._lock_offsets(session, batch)
            parts = [part for part in batch if fenced.get(part.partition, _NOWHERE).next_offset == part.first_offset]
            if len(parts) < len(batch):
                self._recent.clear()  # the rows may have gone back with the offsets: a restore
            rows, grown = await self._file(session, parts, fenced)
            fresh = without_repetitions(rows, self._recent)
            new = await self._without_stored(session, fresh)
            inserted = await self._insert(session, new, isolate=isolate, also_refused=also_refused)
            quarantined = [*_already_quarantined(parts), *inserted.refused]
            await session.executemany(_SQL["quarantine"], quarantined)
            await _settle_replayed(session, rows, inserted.refused)
            if grown:
                await session.execute(_SQL["raise_attempts"], [*map(int, grown)], [*grown.values()])
            await _advance(session, parts)
            crash_points.reached("worker_before_commit")
        crash_points.reached("worker_after_commit")
        self._recent.remember(_stored_keys(fresh, inserted.refused))
        return Written(
            next_offsets={part.partition: part.next_offset for part in parts},
            left_out={
                part.partition: fenced[part.partition].next_offset
                for part in batch
                if part not in parts and part.partition in fenced
            },
            stored=inserted.stored,
            repeated=len(rows) - inserted.stored - len(inserted.refused),
            quarantined=quarantined,
            merged=inserted.merged,
        )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        session = await self._connected()
        try:
            async with session.transaction():
                yield session
        except BaseException as error:
            # After anything but a clean answer of the server the state of the connection is not worth guessing.
            if not isinstance(error, asyncpg.PostgresError) or session.is_closed():
                await self.close()
            raise

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            await self.close()
            opened = await asyncpg.connect(
                self._database_url, timeout=5, server_settings=_SESSION | {"application_name": APPLICATION_NAME}
            )
            try:
                await opened.execute(_SQL["make_incoming"])
            except BaseException:
                opened.terminate()  # without the table it would fail at the first repetition, and ever after
                raise
            self._connection = opened
        return self._connection

    async def _lock_offsets(self, session: Connection, batch: Batch) -> dict[TopicPartition, "_Fence"]:
        """Lock the offset rows; a holder that does not let go is disconnected."""
        names = _columns([part.partition for part in batch])
        locking = asyncio.ensure_future(session.fetch(_SQL["lock_offsets"], *names))
        try:
            done, _ = await asyncio.wait({locking}, timeout=self._holder_patience_seconds)
            if not done:
                await self._end_holders(session.get_server_pid())
            rows = await locking
        finally:
            locking.cancel()
        return {
            TopicPartition(row["topic"], row["partition"]): _Fence(row["next_offset"], row["id_base"]) for row in rows
        }

    async def _end_holders(self, waiting_pid: int) -> None:
        try:
            async with connection(self._database_url, application_name=f"{APPLICATION_NAME}-fence") as other:
                await other.fetch(_SQL["end_holders"], waiting_pid, APPLICATION_NAME)
        except (asyncpg.PostgresError, *UNREACHABLE):
            return  # the lock's own time-out ends the wait, and the next flush tries again

    async def _file(
        self, session: Connection, parts: Sequence[PartitionBatch], fenced: Mapping[TopicPartition, "_Fence"]
    ) -> tuple[list[EventRow], dict[bytes, int]]:
        """Give each event its row id and its attempt, in the order of the records."""
        submissions = {event.submission_id for part in parts for event in part.events()}
        latest = {
            b"%d" % row["submission_id"]: row["latest_attempt"]
            for row in await session.fetch(_SQL["latest_attempts"], [*map(int, submissions)])
        }
        rows: list[EventRow] = []
        grown: dict[bytes, int] = {}
        for part in parts:
            walked = walk(part.events(), latest)
            latest |= walked.grown
            grown |= walked.grown
            rows += _rows(part, walked.attempts, fenced[part.partition].id_base)
            await asyncio.sleep(0)  # heartbeats go on
        return rows, grown

    async def _without_stored(self, session: Connection, fresh: Mapping[EventKey, EventRow]) -> list[EventRow]:
        """Drop repetitions that the primary key cannot see."""
        doubtful = [row.event for row in fresh.values() if filed_by_receipt(row.event)]
        if not doubtful:
            return [*fresh.values()]
        submissions = [int(event.submission_id) for event in doubtful]
        ids = [event.event_id.decode() for event in doubtful]
        found = await session.fetch(_SQL["known_events"], submissions, ids)
        known = {b"%b%d" % (str(row["event_id"]).encode(), row["submission_id"]) for row in found}
        return [row for key, row in fresh.items() if key not in known]

    async def _insert(
        self, session: Connection, rows: Sequence[EventRow], *, isolate: bool, also_refused: Collection[str]
    ) -> Inserted:
        if not rows:
            return Inserted(0)
        try:
            return await self._insert_all(session, rows)
        except asyncpg.PostgresError as error:
            if not isolate or not _refused(error, also_refused):
                raise
            sqlstate = error.sqlstate
        if len(rows) == 1:
            return Inserted(0, [refuse(rows[0].source, rows[0].entry, sqlstate)])
        middle = len(rows) // 2
        left = await self._insert(session, rows[:middle], isolate=isolate, also_refused=also_refused)
        right = await self._insert(session, rows[middle:], isolate=isolate, also_refused=also_refused)
        return left.plus(right)

    async def _insert_all(self, session: Connection, rows: Sequence[EventRow]) -> Inserted:
        """Store all of `rows` that are not there, or, where the database refuses one, none."""
        if self._choice.straight:
            try:
                async with session.transaction():
                    await _copy(session, "quiz_submission_events", rows)
            except asyncpg.UniqueViolationError:
                pass
            else:
                self._choice.learn(met_duplicate=False)
                return Inserted(len(rows))
        async with session.transaction():
            await _copy(session, "incoming_events", rows)
            status = await session.execute(_SQL["merge_incoming"])
            await session.execute(_SQL["clear_incoming"])
        stored = int(status.rpartition(" ")[2])
        self._choice.learn(met_duplicate=stored < len(rows))
        return Inserted(stored, merged=True)


class _Fence(NamedTuple):
    next_offset: int
    id_base: int


_NOWHERE: Final = _Fence(-1, 0)
_SESSION: Final = {
    "timezone": "UTC",
    "statement_timeout": "60000",
    "lock_timeout": "8000",
    "idle_in_transaction_session_timeout": "60000",
}


def _columns(partitions: Collection[TopicPartition]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in partitions], [partition for _, partition in partitions]


def _rows(part: PartitionBatch, attempts: Iterable[int], id_base: int) -> list[EventRow]:
    base, attempt = id_base + part.partition.partition, iter(attempts)
    return [
        EventRow(base + entry.offset * PARTITIONS_PER_ID, next(attempt), entry.content, part.partition, entry)
        for entry in part.entries
        if isinstance(entry.content, Event)
    ]


def _stored_keys(rows: Mapping[EventKey, EventRow], refused: Sequence[QuarantineRow]) -> Collection[EventKey]:
    """Give the keys without those of refused rows: a replay of these must reach the database."""
    if not refused:
        return rows.keys()
    ids = {row.quarantine_id for row in refused}
    return [key for key, row in rows.items() if quarantine_id_of(row.event) not in ids]


def _already_quarantined(parts: Sequence[PartitionBatch]) -> list[QuarantineRow]:
    return [entry.content for part in parts for entry in part.entries if isinstance(entry.content, QuarantineRow)]


def _refused(error: asyncpg.PostgresError, also: Collection[str]) -> bool:
    found = verdict(error.sqlstate, error.constraint_name)
    return found in {"refused", "month_missing"} or error.sqlstate in also


async def _copy(session: Connection, table: str, rows: Sequence[EventRow]) -> None:
    await session.copy_to_table(
        table,
        source=encode_slices(rows),
        columns=COLUMNS,
        format="csv",
        delimiter=DELIMITER,
        quote=QUOTE,
        encoding="utf8",
    )


async def _settle_replayed(session: Connection, rows: Sequence[EventRow], refused: Sequence[QuarantineRow]) -> None:
    """Mark the quarantine rows of replayed events as stored, or as refused once more.

    Where the log is read from an older place, a replayed event may come before the element that it once was: then the
    mark is made here, so that the element does not go to quarantine again.
    """
    replayed = {row.event.quarantine_id: row for row in rows if row.event.quarantine_id is not None}
    if not replayed:
        return
    again = [row for row in refused if row.quarantine_id in replayed]
    stored = [row for key, row in replayed.items() if key not in {row.quarantine_id for row in again}]
    marks = [refuse(row.source, row.entry, None)._replace(reason="replayed", raw=b"") for row in stored]
    await session.executemany(_SQL["quarantine"], marks)
    await session.execute(_SQL["mark_stored"], [row.quarantine_id for row in marks])
    await session.executemany(_SQL["mark_refused_again"], [(row.quarantine_id, row.sqlstate) for row in again])


async def _advance(session: Connection, parts: Sequence[PartitionBatch]) -> None:
    await session.execute(
        _SQL["advance_offsets"],
        *_columns([part.partition for part in parts]),
        [part.next_offset for part in parts],
        [part.entries[-1].appended_at_ms for part in parts],
    )
