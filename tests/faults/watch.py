"""What must hold all the time, looked at several times a second while a scenario runs."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
import asyncpg
import psutil
from tests.faults.bounds import RESTING_DESCRIPTORS, Sample, descriptor_margin, leaks
from tests.faults.observe import positions
from tests.faults.services import Deployment, Service
from tests.waiting import eventually, scaled

from quizstream.runtime.health import CHECK_TIMEOUT_SECONDS, RED_AFTER_SECONDS
from quizstream.runtime.postgres import UNREACHABLE

LOOK_EVERY_SECONDS = 0.25
SAMPLE_EVERY_SECONDS = 1.0
# Two looks that hang, of which the first began before the hop died, and the pause between two.
RED_WITHIN_SECONDS = RED_AFTER_SECONDS + CHECK_TIMEOUT_SECONDS + 2.0
GREEN_WITHIN_SECONDS = 15.0
DESCRIPTORS_BACK_WITHIN_SECONDS = 20.0
_TRIES = 4
_NO_ANSWER = (asyncpg.PostgresError, *UNREACHABLE)
_HOPS = {"gateway": {"kafka"}, "worker": {"kafka", "postgresql"}, "reader": {"postgresql"}}


class Readiness(NamedTuple):
    """What `/readyz` said of a start of a process: nothing else than the dead hops."""

    generation: int
    failing: frozenset[str]


@dataclass
class Watch:
    """Notes when a stored offset goes back, or a process breaks its word.

    An untouched process that is not healthy, memory over its bound, a dead hop that `/readyz` does not name in time.
    """

    deployment: Deployment
    client: aiohttp.ClientSession
    differences: list[str] = field(default_factory=list)
    stored: int = 0
    peak_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    engine_ends: int = 0
    times_red: int = 0
    _positions: dict[tuple[str, int], int] = field(default_factory=dict)
    _comparing: bool = True
    _healthy: dict[str, int] = field(default_factory=dict)
    _readiness: dict[str, Readiness] = field(default_factory=dict)
    _was_ready: dict[str, int] = field(default_factory=dict)
    _dead_since: dict[tuple[str, str], float] = field(default_factory=dict)
    _descriptors_before: dict[str, int] | None = None
    _engine_pids: dict[str, int] = field(default_factory=dict)
    _looks: int = 0
    _looking: "dict[str, asyncio.Task[None]]" = field(default_factory=dict)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator["Watch"]:
        """Watch while the body runs."""
        tasks = [asyncio.create_task(work) for work in (self._watch_offsets(), self._watch_processes())]
        try:
            yield self
        finally:
            tasks += self._looking.values()
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    @asynccontextmanager
    async def set_back(self) -> AsyncIterator[None]:
        """Let the store be set back meanwhile: rows and offsets go back together."""
        self._comparing = False
        try:
            yield
        finally:
            looks = self._looks
            await eventually(lambda: self._has_looked(looks + 2))
            self._comparing = True

    async def _has_looked(self, looks: int) -> bool:
        return self._looks >= looks

    def has_stored(self, ends: Mapping[tuple[str, int], int]) -> bool:
        """Whether the store was seen to have come that far."""
        return all(self._positions.get(key, 0) >= end for key, end in ends.items())

    async def first_new_row(self, seconds: float = 10.0) -> float:
        """Give how long it takes, from now, until the store has moved on."""
        began, before = time.monotonic(), self.stored
        while self.stored <= before:
            elapsed = time.monotonic() - began
            assert elapsed < scaled(seconds), f"no new row {elapsed:.1f} s after healing"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def new_rows_everywhere(self, seconds: float = 10.0) -> float:
        """Give how long it takes until every partition that was ever written has moved on; all must be posted to."""
        began, before = time.monotonic(), dict(self._positions)
        wanted = {key: stored for key, stored in before.items() if stored and key[0] == self.deployment.topic}
        while still := [key for key, stored in wanted.items() if self._positions.get(key, 0) <= stored]:
            elapsed = time.monotonic() - began
            assert elapsed < scaled(seconds), f"no new row {elapsed:.1f} s after healing in {still}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def _watch_offsets(self) -> None:
        while True:
            with suppress(*_NO_ANSWER):
                session = await asyncpg.connect(self.deployment.database_url, timeout=3)
                try:
                    while True:
                        async with asyncio.timeout(10):  # `wait_for` of Python 3.11 may swallow our cancellation
                            found = await positions(session)
                        self._compare(found)
                        await asyncio.sleep(LOOK_EVERY_SECONDS / 5)
                finally:
                    session.terminate()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _compare(self, found: dict[tuple[str, int], int]) -> None:
        self._looks += 1
        for key, before in self._positions.items() if self._comparing else ():
            if found.get(key, 0) < before:
                self.differences.append(f"offset went back: {key} from {before} to {found.get(key)}")
        self._positions = found
        self.stored = sum(found.values())

    def fault_began(self) -> None:
        """Keep, at the first fault, how many descriptors each process had that had been ready before."""
        if self._descriptors_before is None:
            ready = {one.label for one in self.deployment.services if one.label in self._was_ready}
            self._descriptors_before = {label: self.samples[label][-1].descriptors for label in ready}

    async def descriptors_back(self) -> None:
        """Note which processes do not give back what they opened in the outage."""
        resting = {one.label: RESTING_DESCRIPTORS for one in self.deployment.services}
        before = {**resting, **(self._descriptors_before or {})}
        margins = {one.label: self.descriptor_margin(one) for one in self.deployment.services}
        deadline = time.monotonic() + scaled(DESCRIPTORS_BACK_WITHIN_SECONDS)
        while found := leaks(before, self._descriptors_now(), margins):
            if time.monotonic() > deadline:
                self.differences += found
                return
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def descriptor_margin(self, service: Service) -> int:
        """How many descriptors a process may have more at one time than at another."""
        return descriptor_margin(service.name, service.environment, len(self.deployment.stage.brokers))

    def _descriptors_now(self) -> dict[str, int]:
        found = {}
        for service in self.deployment.services:
            if service.is_running and not service.paused:
                with suppress(psutil.Error):
                    found[service.label] = service.descriptors()
        return found

    async def red(self, expected: Mapping[str, Collection[str]]) -> None:
        """Wait until exactly these processes, by label, are red, and for these hops; all others stay green."""
        running = [one.label for one in self.deployment.services if one.is_running]
        wanted = {label: frozenset(expected.get(label, ())) for label in running}

        async def so() -> bool:
            found = {label: readiness.failing for label, readiness in self._readiness.items()}
            assert found == wanted, f"not ready: {found}, not {wanted}"
            return True

        await eventually(so, RED_WITHIN_SECONDS)

    async def green(self) -> None:
        """Wait until every process that runs is ready.

        Raises:
            AssertionError: the dead hops that it names, though nothing is dead.

        """

        async def so() -> bool:
            running = [one for one in self.deployment.services if one.is_running and not one.paused]
            states = {one.label: await self._ask_readiness(one) for one in running}
            assert all(state == frozenset() for state in states.values()), f"not green after healing: {states}"
            return True

        await eventually(so, GREEN_WITHIN_SECONDS)

    async def _watch_processes(self) -> None:
        while True:
            for service in self.deployment.services:
                looking = self._looking.get(service.label)
                if looking is None or looking.done():
                    if looking is not None:
                        looking.result()
                    self._looking[service.label] = asyncio.create_task(self._look_at(service))
            self._look_at_engines()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _look_at_engines(self) -> None:
        for engine in self.deployment.stage.engines:
            pid = engine.pid
            self.engine_ends += self._engine_pids.get(engine.address, pid) != pid
            self._engine_pids[engine.address] = pid

    async def _look_at(self, service: Service) -> None:
        if not service.is_running or service.paused:
            self._readiness.pop(service.label, None)
            return
        with suppress(psutil.Error):
            self._measure(service)
        generation = service.generation
        trouble = await self._trouble(service)
        if not trouble:
            self._healthy[service.label] = generation
            await self._look_at_readiness(service)
        elif service.expected and self._healthy.get(service.label) == generation == service.generation:
            self.differences.append(f"not healthy: {service.label}, which nobody had touched: {trouble}")

    def _measure(self, service: Service, *, at_once: bool = False) -> None:
        used = psutil.Process(service.pid).memory_info().rss
        if used > max(service.memory_bound_bytes, self.peak_bytes[service.name]):
            bound = service.memory_bound_bytes
            self.differences.append(f"memory: {service.label} takes {used >> 20} MiB, more than {bound >> 20}")
        self.peak_bytes[service.name] = max(used, self.peak_bytes[service.name])
        samples, now = self.samples[service.label], time.monotonic()
        if at_once or not samples or now - samples[-1].at_seconds >= SAMPLE_EVERY_SECONDS:
            samples.append(Sample(now, service.pid, used, service.descriptors()))

    async def _look_at_readiness(self, service: Service) -> None:
        """A hop that has been dead for long must be named; which are dead is known, but not all that may be."""
        generation, now = service.generation, time.monotonic()
        failing = await self._ask_readiness(service)
        if failing is None or generation != service.generation or not service.expected:
            return
        before = self._readiness.get(service.label)
        self.times_red += bool(failing) and before is not None and not before.failing
        self._readiness[service.label] = Readiness(generation, failing)
        if not failing and self._was_ready.get(service.label) != generation:
            self._was_ready[service.label] = generation
            with suppress(psutil.Error):
                self._measure(service, at_once=True)
        dead = self.deployment.stage.dead_hops(service.name) & _HOPS[service.name]
        for hop in _HOPS[service.name]:
            key = (service.label, hop)
            if hop not in dead or self._was_ready.get(service.label) != generation:
                self._dead_since.pop(key, None)
            elif now - self._dead_since.setdefault(key, now) > scaled(RED_WITHIN_SECONDS) and hop not in failing:
                self._dead_since.pop(key)
                self.differences.append(f"not red: {service.label}, though {hop} is dead; it names {sorted(failing)}")

    async def _ask_readiness(self, service: Service) -> frozenset[str] | None:
        try:
            limit = aiohttp.ClientTimeout(total=scaled(5))
            async with self.client.get(f"{service.admin_url}/readyz", timeout=limit) as answer:
                told = json.loads(await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return frozenset(told["failing"])

    async def _trouble(self, service: Service) -> str:
        """Ask, more than once: the machine may be busy."""
        trouble = ""
        deadline = time.monotonic() + scaled(10)
        tries = 0
        while service.expected and (tries < _TRIES or time.monotonic() < deadline):
            tries += 1
            try:
                limit = aiohttp.ClientTimeout(total=scaled(5))
                async with self.client.get(f"{service.admin_url}/healthz", timeout=limit) as answer:
                    if answer.status == 200:
                        return ""
                    trouble = f"status {answer.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                trouble = repr(error)
            await asyncio.sleep(0.1)
        return trouble
