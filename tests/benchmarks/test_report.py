"""What a run leaves behind can be read by people and by the next program."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.benchmarks import parts, picture, results, table
from tests.benchmarks.results import Results
from tests.benchmarks.series import costing, outcome
from tests.benchmarks.targets import Judged, Target, judge

OUTCOME = outcome("post", quizstream=costing(100, 120, 90), bare=costing(50, 55, 45), obvious=costing(400, 300, 500))
TARGETS = [Target("post", "cpu_us", "bare", 0.4, 0.45), Target("post", "cpu_us", "obvious", 5.0, 8.0)]


def _judged() -> list[Judged]:
    return list(judge(TARGETS, [OUTCOME]))


def test_results_are_read_back_as_they_were_measured(tmp_path: Path) -> None:
    found = Results(
        began_at="2026-11-22T00:00:00+00:00",
        seconds=1.5,
        machine={"processor": "a", "cores": 2},
        versions={"python": "3.11"},
        outcomes=[results.outcome_as_data(OUTCOME)],
    )
    results.write(tmp_path / "results.json", found)
    assert results.outcomes_of(results.read(tmp_path / "results.json")) == [OUTCOME]
    kept = json.loads((tmp_path / "results.json").read_bytes())["outcomes"][0]["contenders"]["bare"][0]
    assert round(kept["figures"]["cpu_us"]) == 50


def test_the_table_shows_the_spread_and_the_ratio_to_the_first_contender() -> None:
    lines = list(table.rows([OUTCOME]))
    assert "| post | quizstream | cpu_us | 90.0 | 100 | 120 |  |" in lines
    assert "| post | bare | cpu_us | 45.0 | 50.0 | 55.0 | 0.50 |" in lines
    assert "| post | obvious | cpu_us | 300 | 400 | 500 | 4.00 |" in lines


def test_the_table_of_targets_says_which_are_missed() -> None:
    *_, met, missed = table.target_rows(_judged())
    assert met.endswith("| 0.50 | 0.46 to 0.50 | 0.40 | 0.45 | goal |")
    assert missed.endswith("| 4.00 | 2.50 to 5.56 | 5.00 | 8.00 | missed |")


def test_the_picture_has_a_bar_for_each_target_and_no_background(tmp_path: Path) -> None:
    path = tmp_path / "ratios.svg"
    picture.draw(path, _judged(), "on a machine")
    root = ET.fromstring(path.read_text("utf-8"))
    texts = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0.50", "4.00", "on a machine"} <= set(texts)
    assert "#ffffff" not in path.read_text("utf-8").lower()
    assert [panel.title.split(" (")[0] for panel in picture.panels(_judged())] == [
        "beside the least there is to do",
        "beside what one would write first",
    ]


def test_without_targets_there_is_no_picture(tmp_path: Path) -> None:
    picture.draw(tmp_path / "ratios.svg", [], "")
    assert not list(tmp_path.iterdir())


def test_the_readme_tells_every_part_and_has_a_place_for_results() -> None:
    readme = (Path(__file__).parent / "README.md").read_text("utf-8")
    for part in parts.PARTS:
        assert f"`{part.name}`" in readme
    assert readme.index("<!-- results -->") < readme.index("<!-- /results -->")
