"""One engine process: started, awaited, stopped; never outlives us, and is cleared away when it did."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quizstream.local.errors import EngineStartError, PortTakenError
from quizstream.local.packages import psutil
from quizstream.local.ports import is_free

READY_AFTER_SECONDS = 60.0
STOP_AFTER_SECONDS = 20.0
_POLL_SECONDS = 0.05
_STALE_AFTER_SECONDS = 5.0
_LOG_KEPT_BYTES = 10 * 1024 * 1024  # several hundred starts of Kafka; one older file is kept
_PORT_ATTEMPTS = 3
_BECOME = Path(__file__).with_name("become.py")

Ready = Callable[[bytes], Awaitable[bool]]
"""Given what the engine has logged since its start: is it ready?"""


@dataclass(frozen=True, slots=True)
class Account:
    """A system account."""

    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How an engine, or a tool of it, is run.

    A process left over by a crash is recognised by its executable's name and its working directory, `directory`. The
    files in `remains` are those that such a process leaves and the next one would stumble over.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    log: Path
    ports: tuple[int, ...] = ()
    remains: tuple[Path, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None

    def arguments(self) -> list[str]:
        """Return the command line that ties the program to this process before it runs."""
        user_id, group_id = (self.account.user_id, self.account.group_id) if self.account else (-1, -1)
        tie = (_BECOME, os.getpid(), int(self.death_signal), user_id, group_id)
        return [sys.executable, "-I", "-S", *(str(part) for part in tie), *self.command]


class Engine:
    """A program and the process that runs it; `start` after `stop` or `kill` runs it on the same data and port.

    On Linux the process dies with the thread that called `start`.
    """

    def __init__(self, address: str, program: Program, ready: Ready) -> None:
        self.address = address
        self.program = program
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when the engine was never started."""
        return self._started().pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives (a paused one does)."""
        return self._process is not None and self._process.returncode is None

    async def start(self, ready_after_seconds: float = READY_AFTER_SECONDS) -> None:
        """Return when the engine answers; raises EngineStartError, and leaves no process, when it does not."""
        await asyncio.to_thread(clear_left_over, self.program)
        self._require_ports()
        self._log_start, self._process = await _spawn(self.program)
        try:
            await self._wait_until_ready(ready_after_seconds)
        except BaseException:
            await self.kill()
            raise

    async def stop(self, stop_after_seconds: float = STOP_AFTER_SECONDS) -> None:
        """Ask the engine to end, wait, and end it by force after the deadline; nothing when it has ended."""
        self._signal(signal.SIGCONT)
        self._signal(self.program.stop_signal)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), stop_after_seconds)
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End the engine at once, as a crash would, with the processes it started."""
        if self.is_running:
            self._signal(signal.SIGKILL)
            await self.wait()
            await asyncio.to_thread(clear_left_over, self.program)

    def pause(self) -> None:
        """Stop the process from running, as a stalled machine would; it has stopped when this returns."""
        self._signal(signal.SIGSTOP)
        process, deadline = psutil.Process(self._started().pid), time.monotonic() + _STALE_AFTER_SECONDS
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
            time.sleep(0.001)  # the signal takes effect when the process next gets a core

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    async def wait(self) -> int:
        """Return the exit status when the process has ended."""
        return await self._started().wait()

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.program.name} was not started")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running:
            with suppress(ProcessLookupError):
                self._started().send_signal(number)

    def _require_ports(self) -> None:
        for port in self.program.ports:
            if not is_free(port):
                raise PortTakenError(f"{self.program.name} cannot listen on port {port}: it is taken")

    async def _wait_until_ready(self, ready_after_seconds: float) -> None:
        deadline = time.monotonic() + ready_after_seconds
        while not await self._ready(self._logged()):
            if not self.is_running:
                self._require_ports()
                raise EngineStartError(f"{self.program.name} ended while starting, see {self.program.log}")
            if time.monotonic() > deadline:
                message = f"{self.program.name} was not ready after {ready_after_seconds:g} s, see {self.program.log}"
                raise EngineStartError(message)
            await asyncio.sleep(_POLL_SECONDS)

    def _logged(self) -> bytes:
        with self.program.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read()


async def started(make: Callable[[], Engine]) -> Engine:
    """Start what `make` makes, and make it anew when somebody else was quicker to take its port."""
    for _ in range(_PORT_ATTEMPTS - 1):
        with suppress(PortTakenError):
            engine = make()
            await engine.start()
            return engine
    engine = make()
    await engine.start()
    return engine


async def run_tool(program: Program) -> None:
    """Run a program to its end; raises EngineStartError when it fails."""
    _, process = await _spawn(program)
    try:
        status = await process.wait()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if status != 0:
        raise EngineStartError(f"{program.name} failed, see {program.log}")


async def _spawn(program: Program) -> tuple[int, asyncio.subprocess.Process]:
    """Return where the log stood, and the process."""
    with _open_log(program.log) as log:
        process = await asyncio.create_subprocess_exec(
            *program.arguments(),
            cwd=program.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we stop the engines in order
        )
        return log.tell(), process


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
        path.replace(path.with_suffix(".old.log"))
    log = path.open("ab")
    path.chmod(0o600)
    return log


def clear_left_over(program: Program) -> None:
    """End what a crashed run left on the program's directory; whoever calls holds the directory's lock."""
    left_over = [process for process in psutil.process_iter() if _works_for(process, program)]
    for end in (program.death_signal, signal.SIGKILL):
        for process in left_over:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(end)
        _, left_over = psutil.wait_procs(left_over, timeout=_STALE_AFTER_SECONDS)
    if left_over:
        raise EngineStartError(f"{program.name} of an earlier run does not end: process {left_over[0].pid}")
    for path in program.remains:
        path.unlink(missing_ok=True)


def _works_for(process: psutil.Process, program: Program) -> bool:
    try:
        return process.name() == Path(program.command[0]).name and Path(process.cwd()) == program.directory
    except (psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
        return False
