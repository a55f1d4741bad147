"""`quizstream dev` as a new user meets it: the screen, the pasted lines, Ctrl-C, a crash, the next start."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.acceptance.system import COMMAND, run
from tests.waiting import eventually, scaled

from quizstream.local import ports

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@dataclass
class Dev:
    """A running `quizstream dev`."""

    process: asyncio.subprocess.Process
    screen: str
    seconds: float

    @property
    def url(self) -> str:
        found = re.search(r"ready at (\S+)", self.screen)
        assert found
        return found[1]

    def lines_to_paste(self) -> list[str]:
        """The token and the two curl lines."""
        blocks = self.screen.split("\n\n")
        return [block.strip() for block in blocks if block.lstrip().startswith(("TOKEN=", "curl"))]

    def children(self) -> list[psutil.Process]:
        """The engines."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def dev(directory: Path) -> AsyncIterator[Dev]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUIZSTREAM_")}
    environment["QUIZSTREAM_PORT"] = str(ports.any_free())
    environment["QUIZSTREAM_ADMIN_PORT"] = str(ports.any_free())
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        COMMAND, "dev", cwd=directory, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        screen = await asyncio.wait_for(_screen(process), scaled(120))
        yield Dev(process, screen, time.monotonic() - began)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        await asyncio.wait_for(asyncio.gather(process.stdout.read(), process.wait()), scaled(60))


async def _screen(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    printed = b""
    while b"Ctrl-C stops everything" not in printed:
        line = await process.stdout.readline()
        assert line, f"`dev` ended: {printed.decode()}"
        printed += line
    return printed.decode()


async def paste(*lines: str) -> str:
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", "\n".join(lines), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    printed, _ = await asyncio.wait_for(shell.communicate(), scaled(30))
    return printed.decode()


async def events_shown(token_line: str, get_line: str, count: int) -> list[dict[str, object]]:
    async def shown() -> list[dict[str, object]]:
        events: list[dict[str, object]] = json.loads(await paste(token_line, get_line))["quiz_submission_events"]
        return events if len(events) >= count else []

    return await eventually(shown, 20)


async def test_the_printed_lines_post_and_read_back_and_the_data_outlive_a_restart(tmp_path: Path) -> None:
    async with dev(tmp_path) as first:
        token, post, get = first.lines_to_paste()
        assert "204 No Content" in await paste(token, post)
        assert "204 No Content" in await paste(token, post)
        events = await events_shown(token, get, 2)
        assert [event["event_type"] for event in events] == ["page_blurred", "page_blurred"]
        engines = first.children()
        assert engines
        first.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(first.process.wait(), scaled(30)) == 0
    assert not any(engine.is_running() for engine in engines)
    assert (tmp_path / ".quizstream").stat().st_mode & 0o777 == 0o700
    async with dev(tmp_path) as second:
        assert second.seconds < scaled(30)
        token, _, get = second.lines_to_paste()
        assert await events_shown(token, get, 2) == events


async def test_after_a_crash_nothing_is_left_behind_and_the_next_start_has_all_events(tmp_path: Path) -> None:
    async with dev(tmp_path) as first:
        token, post, get = first.lines_to_paste()
        assert "204 No Content" in await paste(token, post)
        engines = first.children()
        first.process.kill()
        await first.process.wait()

        async def all_ended() -> bool:
            return not any(engine.is_running() for engine in engines)

        await eventually(all_ended, 20)
    async with dev(tmp_path) as second:
        token, _, get = second.lines_to_paste()
        assert len(await events_shown(token, get, 1)) == 1


async def test_the_token_command_gives_what_the_readme_pastes(tmp_path: Path) -> None:
    async with dev(tmp_path) as running:
        token_line = next(line for line in README.splitlines() if line.startswith("TOKEN="))
        here = f"cd {tmp_path} && {token_line.replace('.venv/bin/quizstream', str(COMMAND))}"
        _, post, _ = running.lines_to_paste()
        assert "204 No Content" in await paste(here, post)


async def test_a_wrong_setting_stops_the_start_with_one_line() -> None:
    for command in ("gateway", "worker", "reader", "dev"):
        environment = {**os.environ, "QUIZSTREAM_ADMIN_PORT": "99999"}
        printed = await run(command, environment=environment, status=2)
        assert printed.count("\n") == 1
        assert "QUIZSTREAM_ADMIN_PORT" in printed
