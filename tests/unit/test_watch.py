import asyncio
from collections.abc import Callable, Iterator
from itertools import count, repeat

import pytest

from quizstream.worker.watch import Watch

PATIENCE_SECONDS = 0.04


class Asked:
    """Answers of the log, in turn; deliveries may come while it is asked."""

    def __init__(self, answers: Iterator[bool], deliveries: Callable[[], int] = lambda: 0) -> None:
        self._answers = answers
        self.deliveries = deliveries
        self.times = 0

    async def behind(self) -> bool:
        self.times += 1
        return next(self._answers)


async def is_stuck(asked: Asked, seconds: float = 20 * PATIENCE_SECONDS, clock: Iterator[float] | None = None) -> bool:
    ticks = clock or count(0, PATIENCE_SECONDS / 4)
    watch = Watch(PATIENCE_SECONDS, clock=lambda: next(ticks))
    try:
        await asyncio.wait_for(watch.until_stuck(asked.deliveries, asked.behind), seconds)
    except TimeoutError:
        return False
    return True


async def test_a_consumer_that_gets_nothing_of_what_is_there_is_stuck_after_its_patience() -> None:
    asked = Asked(repeat(True))
    assert await is_stuck(asked, 10)
    assert asked.times > 4


async def test_a_consumer_that_has_all_there_is_is_not_stuck() -> None:
    assert not await is_stuck(Asked(repeat(False)))


async def test_a_consumer_that_gets_something_is_not_stuck() -> None:
    numbers = count()
    assert not await is_stuck(Asked(repeat(True), lambda: next(numbers)))


async def test_what_was_behind_and_caught_up_begins_anew() -> None:
    assert not await is_stuck(Asked(turn % 4 != 3 for turn in count()))


async def test_each_replacement_without_effect_doubles_the_patience() -> None:
    ticks = count(0, PATIENCE_SECONDS / 4)
    watch = Watch(PATIENCE_SECONDS, clock=lambda: next(ticks))
    asked = [Asked(repeat(True)) for _ in range(3)]
    for one in asked:
        await asyncio.wait_for(watch.until_stuck(one.deliveries, one.behind), 30)
    assert asked[0].times < asked[1].times < asked[2].times


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_delivery_makes_the_patience_short_again(delivered: bool) -> None:
    ticks = count(0, PATIENCE_SECONDS / 4)
    watch = Watch(PATIENCE_SECONDS, clock=lambda: next(ticks))
    for _ in range(3):
        await asyncio.wait_for(watch.until_stuck(lambda: 0, Asked(repeat(True)).behind), 30)
    first = count()
    last = Asked(repeat(True), lambda: min(next(first), 1) if delivered else 0)
    await asyncio.wait_for(watch.until_stuck(last.deliveries, last.behind), 30)
    assert (last.times < 10) is delivered
