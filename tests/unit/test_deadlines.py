"""One timer for many deadlines."""

import asyncio

from tests.waiting import scaled

from quizstream.gateway.deadlines import Deadlines
from quizstream.gateway.lane import Delivery


async def test_each_delivery_is_given_up_at_its_own_deadline_whatever_the_order_they_came_in() -> None:
    now = asyncio.get_running_loop().time()
    given_up: list[tuple[float, float]] = []
    done = asyncio.Event()

    def expire(delivery: Delivery) -> None:
        given_up.append((delivery.deadline - now, asyncio.get_running_loop().time() - now))
        if len(given_up) == 3:
            done.set()

    deadlines = Deadlines(expire)
    removed = Delivery(1, now + 0.02)
    for delivery in (Delivery(1, now + 0.3), removed, Delivery(1, now + 0.1), Delivery(1, now + 0.2)):
        deadlines.add(delivery)
    deadlines.remove(removed)
    async with asyncio.timeout(scaled(10)):
        await done.wait()
    assert [round(deadline, 1) for deadline, _ in given_up] == [0.1, 0.2, 0.3]
    assert all(at >= deadline for deadline, at in given_up)


async def test_after_the_last_one_the_next_is_given_up_as_well() -> None:
    loop = asyncio.get_running_loop()
    given_up: asyncio.Queue[Delivery] = asyncio.Queue()
    deadlines = Deadlines(given_up.put_nowait)
    for _ in range(2):
        delivery = Delivery(1, loop.time() + 0.01)
        deadlines.add(delivery)
        async with asyncio.timeout(scaled(10)):
            assert await given_up.get() is delivery
