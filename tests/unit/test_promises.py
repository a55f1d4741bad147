"""The table of promises names tests and mutants that exist."""

import re
from pathlib import Path

import pytest
from tests.faults.mutants import MUTANTS, Mutant, broken
from tests.faults.plays import PLAYS

TESTS = Path(__file__).parents[1]
README = (TESTS / "faults" / "README.md").read_text("utf-8").partition("## What shows each promise")[2]
NAMED = re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", README)
PROMISES = ("1", "2", "3", "4", "5", "6")


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_a_test(promise: str) -> None:
    rows = [line for line in README.splitlines() if line.startswith(f"| {promise}: ")]
    assert rows
    for row in rows:
        assert "::test_" in row


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)


def test_every_mutant_is_named_and_no_other() -> None:
    named = set(re.findall(r'"([^"\n]+)"', README))
    assert named == {mutant.name for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_every_mutant_fits_the_code(mutant: Mutant) -> None:
    assert mutant.play in PLAYS
    assert broken(mutant)
