"""Room for what producers hold."""

import asyncio
from collections import deque


class Room:
    """Bounds the bytes that producers hold at a time; first come, first served, so that a large one gets its turn."""

    def __init__(self, max_bytes: int) -> None:
        self.free_bytes = max_bytes
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size_bytes: int) -> None:
        """Wait until `size_bytes` are free, and take them. They must be fewer than the bound."""
        if not self._queue and size_bytes <= self.free_bytes:
            self.free_bytes -= size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size_bytes)
            else:
                self._let_in()  # those behind may fit now
            raise

    def leave(self, size_bytes: int) -> None:
        """Give back what `enter` took."""
        self.free_bytes += size_bytes
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and (self._queue[0][1].done() or self._queue[0][0] <= self.free_bytes):
            size_bytes, turn = self._queue.popleft()
            if not turn.done():
                self.free_bytes -= size_bytes
                turn.set_result(None)
