"""Engines for the scenarios, a scenario per test, and the table of what was shown."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from tests.faults import report, stage
from tests.faults.scenario import Scenario, played

_SHOWN_LOG_CHARACTERS = 3000
_SHOWN = pytest.StashKey[list[report.Shown]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHOWN] = []


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
    """Keep the figures for the table; where there are none, tell why with what failed."""
    if not playing.figures:
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
    shown = session.config.stash[_SHOWN]
    if os.environ.get("QUIZSTREAM_FAULTS_REPORT") and shown:
        report.write(Path(__file__).with_name("README.md"), shown)
