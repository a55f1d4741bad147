"""How a process starts, lives and stops."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import structlog

from quizstream.runtime.lifecycle import (
    EXIT_FAILED,
    EXIT_STOPPED,
    Lifetime,
    SideTaskEnded,
    StartRefused,
    main_until_stopped,
)
from quizstream.runtime.telemetry import configure_logging

STUBBORN = """
import asyncio, contextlib, sys
from quizstream.runtime import lifecycle

lifecycle.SAME_SIGNAL_SECONDS = 0.0

@contextlib.asynccontextmanager
async def application(lifetime):
    yield
    print("stopping", flush=True)
    await asyncio.Event().wait()

print("up", flush=True)
sys.exit(lifecycle.run(application))
"""


@pytest.fixture(autouse=True)
def logging_configured() -> Iterator[None]:
    configure_logging("info", "json")
    yield
    structlog.reset_defaults()


class Steps(list[str]):
    """What happened, in order."""

    @asynccontextmanager
    async def application(self, lifetime: Lifetime) -> AsyncIterator[None]:
        async with lifetime.side_task("watch", self.watch()):
            self.append("up")
            os.kill(os.getpid(), signal.SIGTERM)
            yield
            self.append("down")

    async def watch(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.append("watch ended")


async def fail(error: Exception) -> None:
    raise error


async def test_a_signal_stops_in_order_with_status_zero() -> None:
    steps = Steps()
    assert await main_until_stopped(steps.application) == EXIT_STOPPED
    assert steps == ["up", "down", "watch ended"]


async def test_a_signal_gives_up_a_start_that_is_under_way() -> None:
    @asynccontextmanager
    async def application(_: Lifetime) -> AsyncIterator[None]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        yield

    assert await main_until_stopped(application) == EXIT_STOPPED


@pytest.mark.parametrize("fails", [True, False])
async def test_a_side_task_that_ends_by_itself_stops_the_process_with_a_failure(
    *, fails: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[str] = []

    async def end() -> None:
        if fails:
            raise LookupError("a student's answer")

    @asynccontextmanager
    async def application(lifetime: Lifetime) -> AsyncIterator[None]:
        async with lifetime.side_task("consumer", end()):
            try:
                yield
            finally:
                steps.append("down")

    assert await main_until_stopped(application) == EXIT_FAILED
    assert steps == ["down"]
    logged = capsys.readouterr().err
    assert '"task": "consumer"' in logged
    assert "answer" not in logged


async def test_a_side_task_that_dies_during_the_start_ends_the_start() -> None:
    async def end() -> None:
        return

    @asynccontextmanager
    async def application(lifetime: Lifetime) -> AsyncIterator[None]:
        async with lifetime.side_task("consumer", end()):
            await asyncio.Event().wait()
            yield

    assert await main_until_stopped(application) == EXIT_FAILED


async def test_a_side_task_that_fails_while_it_is_stopped_is_a_failure() -> None:
    async def fail_late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError

    @asynccontextmanager
    async def application(lifetime: Lifetime) -> AsyncIterator[None]:
        async with lifetime.side_task("consumer", fail_late()):
            asyncio.get_running_loop().call_soon(lifetime.stop)
            yield

    assert await main_until_stopped(application) == EXIT_FAILED


async def test_what_waits_for_the_stop_learns_of_a_dead_side_task() -> None:
    async def end() -> None:
        return

    lifetime = Lifetime()
    async with lifetime.side_task("consumer", end()):
        with pytest.raises(SideTaskEnded, match="consumer"):
            await lifetime.until_stopped()


async def test_a_failure_of_the_application_is_logged_and_gives_status_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @asynccontextmanager
    async def application(_: Lifetime) -> AsyncIterator[None]:
        await fail(ConnectionRefusedError())
        yield

    assert await main_until_stopped(application) == EXIT_FAILED
    assert "process_failed" in capsys.readouterr().err


async def test_a_refused_start_is_left_to_the_command_line() -> None:
    @asynccontextmanager
    async def application(_: Lifetime) -> AsyncIterator[None]:
        await fail(StartRefused("the topic is weaker than promised"))
        yield

    with pytest.raises(StartRefused):
        await main_until_stopped(application)


def test_a_second_signal_ends_a_process_that_does_not_stop() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"up\n"
        while b"started" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        while b"stopping" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == EXIT_FAILED
