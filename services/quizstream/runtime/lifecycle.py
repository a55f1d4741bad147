"""The life of a process: start, run until a signal, stop in order.

    StartRefused   one line for the operator and exit status 2; nothing ran

Exit status 0 follows a signal and an orderly stop, 1 a failure.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import ClassVar, Final

import structlog
import uvloop
from structlog.typing import FilteringBoundLogger

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 2

# Ctrl-C reaches a whole process group, and wrappers pass it on once more: within this time it is the same signal.
SAME_SIGNAL_SECONDS: Final = 1.0

log: FilteringBoundLogger = structlog.get_logger()


class StartRefused(Exception):  # noqa: N818  a situation, not a bug
    """The process must not start. The message is one line that an operator can act on and that quotes no secret."""

    exit_status: ClassVar[int] = EXIT_REFUSED


class SideTaskEnded(Exception):  # noqa: N818  a situation, not a bug
    """A task that lasts as long as the process ended by itself."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Lifetime:
    """What an application gets to know that it shall stop, and to tie tasks to its own life."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._start: asyncio.Task[None] | None = None

    @property
    def failed(self) -> bool:
        """Whether the process stops because a side task ended."""
        return self._failure is not None

    def stop(self) -> None:
        """Ask for an orderly stop; a start that is under way is given up."""
        self._stopping.set()
        if self._start is not None:
            self._start.cancel()

    @asynccontextmanager
    async def entered(self, application: "Application") -> AsyncIterator[None]:
        """Start `application`; the current task is cancelled if that shall stop before it is done."""
        self._start = asyncio.current_task()
        async with application(self):
            self._start = None
            yield

    async def until_stopped(self) -> None:
        """Wait for the stop.

        Raises:
            BaseException: what a side task died of; `SideTaskEnded` where it returned.

        """
        await self._stopping.wait()
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def side_task(self, name: str, work: Coroutine[object, object, None]) -> AsyncIterator[asyncio.Task[None]]:
        """Run `work` beside the body and cancel it at the end; the process stops if it ends before that."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        try:
            yield task
        finally:
            task.remove_done_callback(self._ended)
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled() and (error := task.exception()) and error is not self._failure:
                self._failure = self._failure or error
                log.error("side_task_failed", task=name, exc_info=error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._failure = self._failure or error or SideTaskEnded(task.get_name())
        log.error("side_task_ended", task=task.get_name(), exc_info=error)
        self.stop()


Application = Callable[[Lifetime], AbstractAsyncContextManager[None]]


class _Signals:
    """The first signal asks for an orderly stop, also of a start that is under way; the second ends the process."""

    def __init__(self, lifetime: Lifetime, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._first_at: float | None = None

    def take(self, number: signal.Signals) -> None:
        now = self._clock()
        if self._first_at is None:
            self._first_at = now
            log.info("stopping", signal=number.name)
            self._lifetime.stop()
        elif now - self._first_at >= SAME_SIGNAL_SECONDS:
            log.error("stopped_at_once", signal=number.name)
            os._exit(EXIT_FAILED)

    @asynccontextmanager
    async def handled(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.take, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def main_until_stopped(application: Application) -> int:
    """Enter `application`, leave it at SIGTERM or SIGINT or when a side task ends, and give the exit status.

    A second signal, a second or more after the first, ends the process at once with status 1.

    Raises:
        StartRefused: from the application.

    """
    lifetime = Lifetime()
    async with _Signals(lifetime).handled():
        task = asyncio.create_task(_live(application, lifetime), name="application")
        await asyncio.wait((task,))
    error = None if task.cancelled() else task.exception()
    if isinstance(error, StartRefused):
        raise error
    if error is not None:
        log.critical("process_failed", exc_info=error)
    return EXIT_STOPPED if error is None and not lifetime.failed else EXIT_FAILED


async def _live(application: Application, lifetime: Lifetime) -> None:
    async with lifetime.entered(application):
        log.info("started")
        await lifetime.until_stopped()
    log.info("stopped")


def run(application: Application) -> int:
    """Run `application` under uvloop and give the exit status of the process.

    Raises:
        StartRefused: from the application; the command line prints it.

    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        return runner.run(main_until_stopped(application))
    return EXIT_FAILED


def calm_garbage_collector(threshold: int = 100_000) -> None:
    """Take what the start made out of collection and collect seldom.

    For a process whose requests make many short-lived objects and few cycles: measured in the gateway prototype at
    saturation, the p99 fell from 27 to 15 ms. The bound on garbage is `threshold` container objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(threshold, 20, 50)
