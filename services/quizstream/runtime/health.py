"""Whether a process can deliver: named probes, one per hop that it depends on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog
from prometheus_client import Gauge
from structlog.typing import FilteringBoundLogger

RED_AFTER_SECONDS: Final = 10.0
CHECK_TIMEOUT_SECONDS: Final = 5.0  # two checks that hang fit into the time after which a hop is red

log: FilteringBoundLogger = structlog.get_logger()


class Probe(NamedTuple):
    """A hop, the check that raises while the hop is dead, and how often it is made."""

    name: str
    check: Callable[[], Awaitable[None]]
    interval_seconds: float = 2.0


class Readiness(NamedTuple):
    """Whether requests shall come here, the hops that are dead, and whether the process is about to stop."""

    ready: bool
    failing: Sequence[str]
    draining: bool


class _Hop:
    """A hop is red until its first success, and after `RED_AFTER_SECONDS` of failure until the next one."""

    def __init__(self) -> None:
        self.ever_alive = False
        self.failing_since: float | None = None

    def is_red(self, now: float) -> bool:
        if not self.ever_alive:
            return True
        return self.failing_since is not None and now - self.failing_since >= RED_AFTER_SECONDS


class Health:
    """The state of all hops. `/readyz` shows it; whoever learns something on its own way may report it."""

    def __init__(self, probes: Sequence[Probe] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._probes = probes
        self._clock = clock
        self._hops = {probe.name: _Hop() for probe in probes}
        self._draining = False

    def readiness(self) -> Readiness:
        """Give the state of now."""
        now = self._clock()
        failing = tuple(name for name, hop in self._hops.items() if hop.is_red(now))
        return Readiness(not failing and not self._draining, failing, self._draining)

    def publish(self, gauge: Gauge) -> None:
        """Show each hop on a gauge with the label of its name: 1 while it is not red, else 0."""
        for name, hop in self._hops.items():
            gauge.labels(name).set_function(partial(self._up, hop))

    def _up(self, hop: _Hop) -> float:
        return 0.0 if hop.is_red(self._clock()) else 1.0

    def set_draining(self) -> None:
        """Be not ready from now on, while requests that still come are served."""
        self._draining = True

    def report_success(self, name: str) -> None:
        """Take note that a hop delivered."""
        hop = self._hops[name]
        if hop.failing_since is not None:
            log.info("hop_recovered", hop=name)
        hop.ever_alive, hop.failing_since = True, None

    def report_failure(self, name: str, error: BaseException | None = None, *, since: float | None = None) -> None:
        """Take note that a hop did not deliver; `since` is the time, by this object's clock, when that was tried."""
        hop = self._hops[name]
        if hop.failing_since is None:
            hop.failing_since = self._clock() if since is None else since
            log.warning("hop_failing", hop=name, exc_info=error)

    async def check(self, probe: Probe) -> None:
        """Make one check and note its outcome."""
        began = self._clock()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await probe.check()
        except Exception as error:  # noqa: BLE001  whatever a check raises is its answer: the hop is dead
            self.report_failure(probe.name, error, since=began)
        else:
            self.report_success(probe.name)

    async def watch(self) -> None:
        """Make all checks, each at its interval, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for probe in self._probes:
                group.create_task(self._repeat(probe), name=f"probe {probe.name}")
            await asyncio.Event().wait()

    async def _repeat(self, probe: Probe) -> None:
        while True:
            await self.check(probe)
            await asyncio.sleep(probe.interval_seconds)
