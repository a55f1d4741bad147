"""The check bites: with the code behind a promise taken out, the verdict fails."""

from pathlib import Path

import pytest
from tests.faults.mutants import MUTANTS, Mutant, bred
from tests.faults.plays import PLAYS
from tests.faults.scenario import played
from tests.faults.stage import Stage

pytestmark = [pytest.mark.faults(broken="the product"), pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
async def test_a_mutant_is_caught(
    single_stage: Stage, tmp_path: Path, mutant: Mutant, request: pytest.FixtureRequest
) -> None:
    settings = {"PYTHONPATH": str(bred(mutant, tmp_path))}
    if mutant.play == "crash_worker":
        settings["QUIZSTREAM_CONSUMER_INSTANCE"] = "worker-1"
    with pytest.raises(AssertionError, match=mutant.says) as caught:
        async with played(single_stage, tmp_path, settings) as scenario:
            await PLAYS[mutant.play](scenario)
    request.node.add_report_section("call", "verdict", str(caught.value))
