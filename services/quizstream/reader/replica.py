"""Reading from a replica, as long as it can be shown to be no further behind than agreed; else from the primary.

How far a replica is behind cannot be asked of it: the time of the last transaction that it replayed is old where
nothing is written, and recent where the newest is missing. So the primary is asked for its position in the log every
second; a replica that has replayed a position shows all that was committed before that was asked for. An answer is
never older than the bound: where that cannot be shown, the primary is read, and where that is away too, there is none.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from quizstream.contracts.errors import TryLater
from quizstream.reader.select import EventStore, Reading

SAMPLE_SECONDS: Final = 1.0

log: FilteringBoundLogger = structlog.get_logger()


class Freshness:
    """Positions of the primary, and when they were asked for: tells how far a replica is behind at most."""

    def __init__(self, bound_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound_seconds = bound_seconds
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, asked_at: float, position: int) -> None:
        """Take note of where the primary was; what is older than the bound tells nothing any more."""
        self._samples.append((asked_at, position))
        while self._samples[0][0] < asked_at - self._bound_seconds:
            self._samples.popleft()

    def behind_seconds(self, replayed: int) -> float:
        """Give how old what a replica shows may be, infinite where that is unknown.

        After a failover positions may be lower than before: what counts is the latest that has been reached.
        """
        reached = (asked_at for asked_at, position in reversed(self._samples) if position <= replayed)
        return self._clock() - next(reached, float("-inf"))

    def suffices(self, replayed: int) -> bool:
        """Tell whether a replica that has replayed so much is within the bound."""
        return self.behind_seconds(replayed) <= self._bound_seconds


class ReplicatedStore:
    """The store as one replica (or several behind one address) and the primary.

    `read_from` is told for each reading whether it was the replica. A replica that failed or is behind is left alone
    until `keep_watch` has found it fit again.
    """

    def __init__(
        self,
        primary: EventStore,
        replica: EventStore,
        freshness: Freshness,
        read_from: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._freshness = freshness
        self._read_from = read_from
        self._clock = clock
        self._fit = False
        self.behind_seconds = float("inf")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Give a connection to read with.

        Raises:
            TryLater: the primary cannot be reached, and the replica cannot be shown to be fresh.

        """
        async with AsyncExitStack() as held:
            reading = await self._of_replica(held) if self._fit else None
            self._read_from("primary" if reading is None else "replica")
            yield await held.enter_async_context(self._primary.reading()) if reading is None else reading

    async def check(self) -> None:
        """Raise while nothing can be read.

        Raises:
            TryLater: see `reading`.

        """
        async with self.reading() as reading:
            await reading.position()

    async def keep_watch(self) -> None:
        """Ask for the primary's position, and see whether the replica is fit, every second until cancelled."""
        while True:
            await self.watch_once()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def watch_once(self) -> None:
        """Ask both servers where they are."""
        asked_at = self._clock()
        primary, replayed = await asyncio.gather(_position(self._primary), _position(self._replica))
        if primary is not None:
            self._freshness.note(asked_at, primary)
        self.behind_seconds = float("inf") if replayed is None else self._freshness.behind_seconds(replayed)
        self._decide(fit=replayed is not None and self._freshness.suffices(replayed))

    async def _of_replica(self, held: AsyncExitStack) -> Reading | None:
        try:
            return await held.enter_async_context(self._fresh())
        except TryLater:
            self._decide(fit=False)
            return None

    @asynccontextmanager
    async def _fresh(self) -> AsyncIterator[Reading]:
        """Behind one address there may be several replicas: each connection is asked."""
        async with self._replica.reading() as reading:
            if not self._freshness.suffices(await reading.position()):
                raise TryLater("store_unavailable", "The store does not answer.")
            yield reading

    def _decide(self, *, fit: bool) -> None:
        if fit != self._fit:
            log.warning("replica_fit" if fit else "replica_left_alone", behind_seconds=self.behind_seconds)
        self._fit = fit


async def _position(server: EventStore) -> int | None:
    try:
        async with server.reading() as reading:
            return await reading.position()
    except TryLater:
        return None
