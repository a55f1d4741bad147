"""The table keeps what a run has not played, and nothing that is not so any more."""

from pathlib import Path

import pytest
from tests.faults import report
from tests.faults.scenario import Figures
from tests.faults.verdict import Verdict

KNOWN = ("test_a_thing", "test_another", "test_third")


def shown(name: str, events: int = 10) -> report.Shown:
    figures = Figures(events, 2, Verdict([], 0, 0, 0), 1.5, 4.2, {"gateway": 90 << 20}, 12.0, kills=1, invariants="1-9")
    return report.Shown(name, "everything", 7, figures)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    file = tmp_path / "README.md"
    file.write_text("above\n<!-- scenarios -->\n<!-- /scenarios -->\nbelow\n", "utf-8")
    report.write(file, [shown("test_a_thing"), shown("test_another[5]")], [], KNOWN)
    return file


def scenarios(readme: Path) -> dict[str, str]:
    return {row.scenario: row.events for row in report.rows_in(readme.read_text("utf-8"))}


def test_a_partial_run_replaces_its_own_rows_only(readme: Path) -> None:
    report.write(readme, [shown("test_another[5]", 20)], ["test_another[5]"], KNOWN)
    assert scenarios(readme) == {"a thing": "10", "another[5]": "20"}
    assert "2 scenarios, 30 events, 4 faults, 2 kills of processes: lost 0" in readme.read_text("utf-8")


def test_what_was_played_and_failed_has_no_row(readme: Path) -> None:
    report.write(readme, [], ["test_a_thing"], KNOWN)
    assert scenarios(readme) == {"another[5]": "10"}


def test_what_is_no_test_any_more_has_no_row(readme: Path) -> None:
    report.write(readme, [shown("test_third")], ["test_third"], KNOWN[1:])
    assert scenarios(readme) == {"another[5]": "10", "third": "10"}


def test_what_stands_around_the_table_stays(readme: Path) -> None:
    text = readme.read_text("utf-8")
    assert text.startswith("above\n<!-- scenarios -->\n| scenario |")
    assert text.endswith("Peak memory: gateway 90 MiB, worker 0 MiB, reader 0 MiB.\n<!-- /scenarios -->\nbelow\n")
