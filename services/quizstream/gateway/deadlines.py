"""When requests that wait for their acknowledgement are given up."""

import asyncio
from collections.abc import Callable

from quizstream.gateway.lane import Delivery


class Deadlines:
    """Tells which deliveries are late, with one timer for all: nearly none is, and a timer for each costs 3 us."""

    def __init__(self, expire: Callable[[Delivery], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._waiting: dict[Delivery, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, delivery: Delivery) -> None:
        """Call `expire` at the deadline of `delivery`, unless it is removed before."""
        self._waiting[delivery] = None
        if self._timer is None or delivery.deadline < self._timer.when():
            self._set(delivery.deadline)

    def remove(self, delivery: Delivery) -> None:
        """Forget a delivery. The timer stays: setting it for each would be what it spares."""
        self._waiting.pop(delivery, None)

    def _set(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        for delivery in [delivery for delivery in self._waiting if delivery.deadline <= now]:
            self.remove(delivery)
            self._expire(delivery)
        if self._waiting:
            self._set(min(delivery.deadline for delivery in self._waiting))
