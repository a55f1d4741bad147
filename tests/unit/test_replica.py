"""When a replica is read, and when the primary."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quizstream.contracts.errors import TryLater
from quizstream.reader.replica import Freshness, ReplicatedStore
from quizstream.reader.select import Reading


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server(Reading):
    """A server at a position; None while it is away."""

    def __init__(self, position: int | None) -> None:
        self.at = position
        self.open = 0

    async def position(self) -> int:
        if self.at is None:
            raise TryLater("store_unavailable", "away")
        return self.at

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        if self.at is None:
            raise TryLater("store_unavailable", "away")
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def check(self) -> None:
        await self.position()


class Pair:
    """A primary and a replica, and which of them was read."""

    def __init__(self) -> None:
        self.clock, self.primary, self.replica = Clock(), Server(10), Server(10)
        self.seen: list[str] = []
        freshness = Freshness(5, self.clock)
        self.store = ReplicatedStore(self.primary, self.replica, freshness, self.seen.append, self.clock)

    async def second(self, seconds: float = 1) -> None:
        self.clock.now += seconds
        await self.store.watch_once()

    async def read(self) -> str:
        async with self.store.reading() as reading:
            assert reading is (self.replica if self.seen[-1] == "replica" else self.primary)
        assert self.primary.open == self.replica.open == 0
        return self.seen[-1]


@pytest.fixture
def pair() -> Pair:
    return Pair()


async def test_a_replica_is_read_once_it_was_found_fresh(pair: Pair) -> None:
    assert await pair.read() == "primary"
    await pair.second()
    assert await pair.read() == "replica"


async def test_a_replica_of_an_idle_primary_stays_fresh(pair: Pair) -> None:
    for _ in range(100):
        await pair.second()
    assert await pair.read() == "replica"
    assert pair.store.behind_seconds == 0


async def test_a_replica_that_falls_behind_serves_until_the_bound_and_again_when_it_has_caught_up(pair: Pair) -> None:
    await pair.second()
    read = []
    for _ in range(7):
        assert pair.primary.at is not None
        pair.primary.at += 1
        await pair.second()
        read.append(await pair.read())
    assert read == ["replica"] * 5 + ["primary"] * 2
    assert pair.store.behind_seconds == float("inf")
    pair.replica.at = pair.primary.at
    await pair.second()
    assert await pair.read() == "replica"


async def test_a_connection_to_another_replica_that_is_behind_is_not_read_from(pair: Pair) -> None:
    await pair.second()
    pair.replica.at = 9
    assert await pair.read() == "primary"


async def test_without_a_replica_the_primary_is_read_at_once(pair: Pair) -> None:
    await pair.second()
    pair.replica.at = None
    assert await pair.read() == "primary"
    pair.replica.at = 10
    assert await pair.read() == "primary"  # until the watch has seen it
    await pair.second()
    assert await pair.read() == "replica"


async def test_without_a_primary_the_replica_serves_until_the_bound_and_then_nobody(pair: Pair) -> None:
    await pair.second()
    pair.primary.at = None
    await pair.second(4)
    assert await pair.read() == "replica"
    await pair.store.check()
    await pair.second(2)
    with pytest.raises(TryLater):
        await pair.read()
    with pytest.raises(TryLater):
        await pair.store.check()


async def test_after_a_failover_lower_positions_count(pair: Pair) -> None:
    pair.primary.at = 1_000  # what the old primary had and nobody else got
    await pair.second()
    assert await pair.read() == "primary"
    pair.primary.at = pair.replica.at = 500
    await pair.second()
    assert await pair.read() == "replica"
