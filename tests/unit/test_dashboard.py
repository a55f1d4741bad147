"""The dashboard asks for metrics that there are, in words that Prometheus understands."""

import subprocess
from itertools import combinations
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.programs import require_program
from tests.promql import unknown_references

DEPLOY: Final = Path(__file__).parents[2] / "deploy"


class Place(msgspec.Struct, frozen=True):
    x: int
    y: int
    w: int
    h: int

    def overlaps(self, other: "Place") -> bool:
        beside = self.x + self.w <= other.x or other.x + other.w <= self.x
        return not beside and self.y < other.y + other.h and other.y < self.y + self.h


class Source(msgspec.Struct, frozen=True):
    type: str
    uid: str


class Query(msgspec.Struct, frozen=True, rename="camel"):
    ref_id: str
    expr: str
    datasource: Source


class Panel(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    title: str
    type: str
    grid_pos: Place
    description: str = ""
    targets: list[Query] = []


class Variable(msgspec.Struct, frozen=True):
    name: str
    type: str


class Templating(msgspec.Struct, frozen=True):
    list: list[Variable]


class Dashboard(msgspec.Struct, frozen=True):
    uid: str
    panels: list[Panel]
    templating: Templating


DASHBOARD: Final = msgspec.json.decode((DEPLOY / "dashboard.json").read_bytes(), type=Dashboard)
SHOWING: Final = [panel for panel in DASHBOARD.panels if panel.type != "row"]
all_panels: Final = pytest.mark.parametrize("panel", SHOWING, ids=lambda panel: str(panel.title))


@all_panels
def test_a_panel_asks_for_metrics_and_labels_that_there_are(panel: Panel) -> None:
    assert panel.targets
    for query in panel.targets:
        assert unknown_references(query.expr) == []


@all_panels
def test_a_panel_says_what_it_shows_and_asks_the_source_that_is_chosen(panel: Panel) -> None:
    assert panel.description
    assert {query.datasource for query in panel.targets} == {Source("prometheus", "${datasource}")}
    assert Variable("datasource", "datasource") in DASHBOARD.templating.list


def test_panels_do_not_cover_each_other() -> None:
    assert len({panel.id for panel in DASHBOARD.panels}) == len(DASHBOARD.panels)
    for one, other in combinations(DASHBOARD.panels, 2):
        assert not one.grid_pos.overlaps(other.grid_pos), (one.title, other.title)


def test_prometheus_understands_every_question(tmp_path: Path) -> None:
    promtool = require_program("promtool")
    asked = [query.expr.replace("$__rate_interval", "1m") for panel in SHOWING for query in panel.targets]
    rules = [{"record": f"asked:{number}", "expr": expression} for number, expression in enumerate(asked)]
    file = tmp_path / "rules.yaml"
    file.write_bytes(msgspec.yaml.encode({"groups": [{"name": "dashboard", "rules": rules}]}))
    found = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
