"""The bounds of what a gateway holds."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quizstream.contracts.errors import TryLater
from quizstream.gateway.in_flight import SHARES, InFlightBudget
from quizstream.gateway.room import Room


def test_beyond_the_budget_the_client_is_told_to_come_again_at_once() -> None:
    budget = InFlightBudget(100)
    with budget.lease(1) as first, budget.lease(2) as second:
        first.resize(60)
        with pytest.raises(TryLater) as refused:
            second.resize(41)
        assert refused.value.headers["Retry-After"].isdecimal()
        second.resize(40)
    assert budget.held_bytes == 0


def test_one_submission_holds_at_most_its_share_in_several_requests() -> None:
    budget = InFlightBudget(800)
    with budget.lease(1) as first, budget.lease(1) as second, budget.lease(2) as other:
        first.resize(60)
        with pytest.raises(TryLater):
            second.resize(800 // SHARES - 59)
        second.resize(40)
        other.resize(90)


def test_a_request_on_its_own_may_be_larger_than_a_share() -> None:
    budget = InFlightBudget(800)
    with budget.lease(1) as only:
        only.resize(700)


def test_a_lease_may_shrink_whatever_else_is_held() -> None:
    budget = InFlightBudget(800)
    with budget.lease(1) as first, budget.lease(1) as second:
        first.resize(300)
        with pytest.raises(TryLater):
            second.resize(1)
        first.resize(200)


def test_a_lease_that_is_passed_on_counts_for_its_new_owner() -> None:
    budget = InFlightBudget(800)
    with budget.lease(0) as stranger, budget.lease(0) as other, budget.lease(1) as owned:
        stranger.resize(90)
        stranger.pass_to(1)
        other.resize(90)
        with pytest.raises(TryLater):
            owned.resize(20)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 120)), max_size=20))
def test_the_books_balance(changes: list[tuple[int, int]]) -> None:
    budget = InFlightBudget(200)
    leases = [budget.lease(number % 2) for number in range(4)]
    opened = [lease.__enter__() for lease in leases]
    for number, size in changes:
        try:
            opened[number].resize(size)
        except TryLater:
            assert size > 0
        assert budget.held_bytes == sum(lease.held_bytes for lease in opened) <= 200
    for lease in leases:
        lease.__exit__(None, None, None)
    assert budget.held_bytes == 0


async def test_room_is_given_in_turn() -> None:
    room = Room(100)
    await room.enter(80)
    large, small = (asyncio.create_task(room.enter(size)) for size in (90, 10))
    await asyncio.sleep(0)
    assert not small.done()  # or the large one might never come in
    room.leave(80)
    await asyncio.gather(large, small)


@pytest.mark.parametrize("let_in_first", [False, True])
async def test_who_gives_up_waiting_leaves_no_trace(let_in_first: bool) -> None:
    room = Room(100)
    await room.enter(80)
    large, small = (asyncio.create_task(room.enter(size)) for size in (90, 10))
    await asyncio.sleep(0)
    if let_in_first:
        room.leave(80)
    large.cancel()
    await asyncio.wait((large, small), timeout=1)
    assert small.done()
    room.leave(10)
    if not let_in_first:
        room.leave(80)
    assert room.free_bytes == 100
