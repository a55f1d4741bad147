"""What each failure of the store asks for, with a store that fails as it is told."""

import asyncio
from collections.abc import Collection, Sequence

import asyncpg
import pytest
from tests.factories import part, stored_event

from quizstream.worker.batch import Batch, count_rows
from quizstream.worker.flush import EQUAL_FAILURES, ISOLATED_ROWS, Flusher, Stopped
from quizstream.worker.sqlstate import Verdict
from quizstream.worker.store import Written

BATCH = [part([stored_event() for _ in range(2_500)])]
NO_PAUSE_SECONDS = 0.0001


class FailingStore:
    """Raises the given errors in turn, then takes what it is given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.writes: list[tuple[int, bool, frozenset[str]]] = []
        self.answers = True

    async def write(
        self, batch: Batch, *, isolate: bool = False, also_refused: Collection[str] = frozenset()
    ) -> Written:
        self.writes.append((count_rows(batch), isolate, frozenset(also_refused)))
        if self.errors:
            raise self.errors.pop(0)
        return Written({one.partition: one.next_offset for one in batch}, {}, count_rows(batch), 0, [], merged=False)

    async def ping(self) -> None:
        if not self.answers:
            raise ConnectionRefusedError


class Flushing:
    """A flusher on a failing store; `months` are those it asked for."""

    def __init__(self, *errors: Exception, months_fail: Sequence[Exception] = ()) -> None:
        self.store = FailingStore(*errors)
        self.stopping = asyncio.Event()
        self.verdicts: list[Verdict] = []
        self.months: list[Collection[str]] = []
        self._months_fail = list(months_fail)
        self.made = False
        self.flusher = Flusher(self.store, self._make_months, self.stopping, self.verdicts.append, NO_PAUSE_SECONDS)

    async def _make_months(self, months: Collection[str]) -> bool:
        self.months.append(months)
        if self._months_fail:
            raise self._months_fail.pop(0)
        return self.made

    async def flush(self) -> list[Written]:
        return [written async for written in self.flusher.flush(BATCH)]


async def test_a_batch_that_is_taken_is_written_once() -> None:
    flushing = Flushing()
    (written,) = await flushing.flush()
    assert written.stored == 2_500
    assert flushing.store.writes == [(2_500, False, frozenset())]


async def test_a_refused_value_is_isolated_in_transactions_of_bounded_size() -> None:
    flushing = Flushing(asyncpg.InvalidTextRepresentationError("x"))
    written = await flushing.flush()
    assert [each.stored for each in written] == [ISOLATED_ROWS, ISOLATED_ROWS, 500]
    assert [isolate for _, isolate, _ in flushing.store.writes] == [False, True, True, True]


async def test_an_outage_is_waited_out_and_nothing_is_isolated() -> None:
    errors = [ConnectionRefusedError(), *[asyncpg.CannotConnectNowError("x") for _ in range(30)]]
    flushing = Flushing(*errors)
    (written,) = await flushing.flush()
    assert written.stored == 2_500
    assert not any(isolate for _, isolate, _ in flushing.store.writes)
    assert not flushing.flusher.failing


async def test_a_missing_table_never_empties_a_batch_into_quarantine() -> None:
    flushing = Flushing(*[asyncpg.UndefinedTableError("x") for _ in range(3 * EQUAL_FAILURES)])
    (written,) = await flushing.flush()
    assert not written.quarantined
    assert not any(isolate for _, isolate, _ in flushing.store.writes)


async def test_ten_equal_failures_that_a_value_may_cause_are_isolated() -> None:
    flushing = Flushing(*[asyncpg.InternalServerError("x") for _ in range(EQUAL_FAILURES)])
    await flushing.flush()
    assert flushing.store.writes[EQUAL_FAILURES - 1] == (2_500, False, frozenset())
    assert flushing.store.writes[EQUAL_FAILURES] == (ISOLATED_ROWS, True, frozenset({"XX000"}))


async def test_ten_equal_failures_of_a_store_that_does_not_answer_are_an_outage() -> None:
    flushing = Flushing(*[asyncpg.InternalServerError("x") for _ in range(2 * EQUAL_FAILURES)])
    flushing.store.answers = False
    (written,) = await flushing.flush()
    assert written.stored == 2_500


async def test_a_missing_month_is_made_before_the_batch_is_written_again() -> None:
    flushing = Flushing(asyncpg.CheckViolationError("x"))
    await flushing.flush()
    assert flushing.months == [{stored_event().occurred_at[:7]}]
    assert flushing.verdicts == ["month_missing"]


async def test_a_month_that_is_taken_away_again_is_made_again_and_nothing_is_isolated() -> None:
    """Retention may drop a month that was made for a late event, before that is stored in it."""
    flushing = Flushing(asyncpg.CheckViolationError("x"), asyncpg.CheckViolationError("x"))
    flushing.made = True
    (written,) = await flushing.flush()
    assert written.stored == 2_500
    assert len(flushing.months) == 2


async def test_while_a_missing_month_cannot_be_made_nothing_is_refused() -> None:
    flushing = Flushing(
        asyncpg.CheckViolationError("x"),
        asyncpg.CheckViolationError("x"),
        months_fail=[asyncpg.LockNotAvailableError("x")],
    )
    await flushing.flush()
    assert [isolate for _, isolate, _ in flushing.store.writes] == [False, False, True, True, True]


async def test_a_month_that_cannot_be_made_for_long_is_waited_for_and_nothing_is_isolated() -> None:
    tries = 3 * EQUAL_FAILURES
    flushing = Flushing(
        *[asyncpg.CheckViolationError("x") for _ in range(tries)],
        months_fail=[asyncpg.LockNotAvailableError("x") for _ in range(tries)],
    )
    (written,) = await flushing.flush()
    assert written.stored == 2_500


async def test_deadlocks_are_no_fault_of_a_value_however_many_follow_one_another() -> None:
    flushing = Flushing(*[asyncpg.DeadlockDetectedError("x") for _ in range(3 * EQUAL_FAILURES)])
    (written,) = await flushing.flush()
    assert written.stored == 2_500


async def test_what_isolation_does_not_help_is_waited_out() -> None:
    refusal = asyncpg.InvalidTextRepresentationError
    flushing = Flushing(refusal("x"), refusal("x"), refusal("x"))
    written = await flushing.flush()
    assert sum(each.stored for each in written) == 2_500


async def test_a_stop_ends_the_wait_of_an_outage() -> None:
    flushing = Flushing(*[ConnectionRefusedError() for _ in range(3)])
    flushing.stopping.set()
    with pytest.raises(Stopped):
        await flushing.flush()
    assert flushing.flusher.failing
