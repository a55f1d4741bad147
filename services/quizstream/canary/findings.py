"""What the canaries tell: metrics, and which hop is dead."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, get_args

import structlog

from quizstream.canary.flight import Flight, Hop
from quizstream.contracts import metrics
from quizstream.runtime.health import Probe
from quizstream.runtime.telemetry import Meters

HOPS: Final[tuple[Hop, ...]] = get_args(Hop)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class HopDead(Exception):  # noqa: N818  a situation, which `/readyz` shows
    """A canary did not pass."""


class Findings:
    """The state of each hop. POST and the way to the store may be dead for some partitions only; GET knows none."""

    def __init__(self, meters: Meters) -> None:
        self._readable_after = meters.histogram(metrics.CANARY_READABLE)
        failures = meters.counter(metrics.CANARY_FAILURES)
        self._failures = {hop: failures.labels(hop) for hop in HOPS}
        self._dead: dict[Hop, dict[int, None]] = {hop: {} for hop in HOPS}  # ordered sets: tried longest ago first
        self._known = {hop: asyncio.Event() for hop in HOPS}

    def note(self, partition: int, flight: Flight) -> None:
        """Take note of what a canary of this partition tells."""
        for hop in flight.alive:
            self._known[hop].set()
            if hop == "get":
                self._dead[hop].clear()
            else:
                self._dead[hop].pop(partition, None)
        for hop, reason in flight.failed.items():
            self._known[hop].set()
            self._dead[hop].pop(partition, None)
            self._dead[hop][partition] = None
            self._failures[hop].inc()
            _log.warning("canary_lost", hop=hop, partition=partition, reason=reason)
        if flight.readable_after_seconds is not None:
            self._readable_after.observe(flight.readable_after_seconds)

    def to_be_retried(self) -> int | None:
        """Give the one of the partitions that fail that was tried longest ago, None where none fails."""
        return next((partition for hop in HOPS for partition in self._dead[hop]), None)

    def probes(self) -> tuple[Probe, ...]:
        """Give the checks of the three hops."""
        return tuple(Probe(hop, self._check(hop)) for hop in HOPS)

    def _check(self, hop: Hop) -> Callable[[], Awaitable[None]]:
        return partial(self._raise_if_dead, hop)

    async def _raise_if_dead(self, hop: Hop) -> None:
        await self._known[hop].wait()
        if self._dead[hop]:
            raise HopDead
