"""What must hold all the time, looked at several times a second while a scenario runs."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import psutil
from tests.faults.observe import positions
from tests.faults.services import Deployment, Service
from tests.waiting import eventually, scaled

from quizstream.runtime.postgres import UNREACHABLE

LOOK_EVERY_SECONDS = 0.25
MEMORY_BOUND_BYTES = 600 * 2**20  # gateway: 256 MiB in flight and as much again for the process; the others less
_TRIES = 4
_NO_ANSWER = (asyncpg.PostgresError, *UNREACHABLE)


@dataclass
class Watch:
    """Notes when a stored offset goes back, an untouched process is not healthy, or memory leaves its bound."""

    deployment: Deployment
    client: aiohttp.ClientSession
    differences: list[str] = field(default_factory=list)
    stored: int = 0
    peak_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _positions: dict[tuple[str, int], int] = field(default_factory=dict)
    _comparing: bool = True
    _healthy: dict[Path, int] = field(default_factory=dict)
    _looks: int = 0

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator["Watch"]:
        """Watch while the body runs."""
        tasks = [asyncio.create_task(work) for work in (self._watch_offsets(), self._watch_processes())]
        try:
            yield self
        finally:
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
                        async with asyncio.timeout(10):  # `wait_for` may swallow the cancellation of this task
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

    async def _watch_processes(self) -> None:
        while True:
            for service in self.deployment.services:
                await self._look_at(service)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _look_at(self, service: Service) -> None:
        if not service.is_running or service.paused:
            return
        with suppress(psutil.Error):
            used = psutil.Process(service.pid).memory_info().rss
            if used > max(MEMORY_BOUND_BYTES, self.peak_bytes[service.name]):
                self.differences.append(f"memory: {service.name} takes {used >> 20} MiB")
            self.peak_bytes[service.name] = max(used, self.peak_bytes[service.name])
        generation = service.generation
        trouble = await self._trouble(service)
        if not trouble:
            self._healthy[service.log] = generation
        elif service.expected and self._healthy.get(service.log) == generation == service.generation:
            self.differences.append(f"not healthy: {service.name}, which nobody had touched: {trouble}")

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
