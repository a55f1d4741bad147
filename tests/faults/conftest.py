"""Engines for the scenarios, a scenario per test, and the table of what was shown."""

import os
import re
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from tests.faults import report, stage
from tests.faults.scenario import Scenario, played

_SHOWN_LOG_CHARACTERS = 3000
_SHOWN = pytest.StashKey[list[report.Shown]]()
_PLAYED = pytest.StashKey[list[str]]()
_FAILED = pytest.StashKey[bool]()
_TEST = re.compile(r"^async def (test_\w+)", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHOWN] = []
    config.stash[_PLAYED] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    told = yield
    if call.when == "call":
        item.stash[_FAILED] = told.failed
    return told


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def single_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    """One broker, one server; not those of other tests, as scenarios kill them."""
    async with stage.single(tmp_path_factory.mktemp("stage")) as ready:
        yield ready


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def replicated_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[stage.Stage]:
    """Three brokers, one server."""
    async with stage.replicated(tmp_path_factory.mktemp("stage-of-three")) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(
    single_stage: stage.Stage, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Scenario]:
    """A scenario between one broker and one server."""
    async with played(single_stage, tmp_path, _marked(request, "settings", {})) as playing:
        yield playing
        _note(request, playing, tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def replicated_scenario(
    replicated_stage: stage.Stage, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Scenario]:
    """A scenario with three brokers."""
    async with played(replicated_stage, tmp_path) as playing:
        yield playing
        _note(request, playing, tmp_path)


Value = TypeVar("Value")


def _marked(request: pytest.FixtureRequest, name: str, default: Value) -> Value:
    """What a scenario says about itself in its mark."""
    marker = request.node.get_closest_marker("faults")
    said: Value = marker.kwargs.get(name, default) if marker else default
    return said


def _note(request: pytest.FixtureRequest, playing: Scenario, logs: Path) -> None:
    """Keep the figures for the table; of what failed, tell why instead."""
    request.config.stash[_PLAYED].append(request.node.name)
    if request.node.stash.get(_FAILED, True) or not playing.figures:
        request.node.add_report_section("teardown", "schedule", playing.tell())
        for log in sorted(logs.glob("*.log")):
            text = log.read_text("utf-8", "replace")[-_SHOWN_LOG_CHARACTERS:]
            request.node.add_report_section("teardown", log.name, text)
    else:
        broken = _marked(request, "broken", "")
        request.config.stash[_SHOWN].append(report.Shown(request.node.name, broken, playing.seed, playing.figures))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    shown = config.stash[_SHOWN]
    for line in report.lines(shown):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    shown, played = session.config.stash[_SHOWN], session.config.stash[_PLAYED]
    if os.environ.get("QUIZSTREAM_FAULTS_REPORT") and played:
        here = Path(__file__).parent
        known = [name for file in here.glob("test_*.py") for name in _TEST.findall(file.read_text("utf-8"))]
        report.write(here / "README.md", shown, played, known)
