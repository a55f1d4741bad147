"""Alerts refer to metrics that there are, fire when they should, and are told about in the runbook."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
from tests.programs import require_program
from tests.promql import unknown_references

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RUNBOOK: Final = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
PARTS: Final = ("**Means.**", "**Look at.**", "**Do.**", "**Why this bound.**")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alert: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    for_: str = msgspec.field(name="for", default="0s")


class Group(msgspec.Struct, frozen=True):
    name: str
    rules: list[Rule]


class Rules(msgspec.Struct, frozen=True):
    groups: list[Group]


class Discovery(msgspec.Struct, frozen=True):
    names: list[str]


class Job(msgspec.Struct, frozen=True):
    job_name: str
    dns_sd_configs: list[Discovery]


class Scraping(msgspec.Struct, frozen=True):
    scrape_configs: list[Job]


class Service(msgspec.Struct, frozen=True):
    command: str | list[str] = ""


class Composed(msgspec.Struct, frozen=True):
    services: Mapping[str, Service]


class Expectation(msgspec.Struct, frozen=True):
    alertname: str
    exp_alerts: list[Mapping[str, Mapping[str, str]]] = []


class Case(msgspec.Struct, frozen=True):
    name: str
    alert_rule_test: list[Expectation]


class Cases(msgspec.Struct, frozen=True):
    tests: list[Case]


ALERTS: Final = {
    rule.alert: rule
    for group in msgspec.yaml.decode((DEPLOY / "alerts.yaml").read_bytes(), type=Rules).groups
    for rule in group.rules
}
SECTIONS: Final = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
all_alerts: Final = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)


@all_alerts
def test_an_alert_refers_to_metrics_and_labels_that_there_are(alert: Rule) -> None:
    assert unknown_references(alert.expr) == []


@all_alerts
def test_an_alert_says_how_urgent_it_is_what_is_and_where_to_read_on(alert: Rule) -> None:
    assert alert.labels["severity"] in {"critical", "warning"}
    assert alert.annotations["summary"]
    assert alert.annotations["runbook"] == f"RUNBOOK.md#{alert.alert.lower()}"


@all_alerts
def test_the_runbook_says_what_an_alert_means_and_what_to_do(alert: Rule) -> None:
    section = SECTIONS[alert.alert]
    places = [section.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)


def test_the_runbook_speaks_of_no_other_alerts() -> None:
    assert set(re.findall(r"\bQuizstream[A-Z]\w+", RUNBOOK)) == set(ALERTS)


def test_links_inside_the_runbook_lead_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= {heading.lower().replace(" ", "-") for heading in headings}


def test_each_alert_is_shown_to_fire_and_not_to_fire() -> None:
    cases = msgspec.yaml.decode((DEPLOY / "alerts_test.yaml").read_bytes(), type=Cases).tests
    shown = [(one.alertname, bool(one.exp_alerts)) for case in cases for one in case.alert_rule_test]
    assert set(shown) == {(name, fires) for name in ALERTS for fires in (True, False)}


def test_alerts_fire_when_they_should() -> None:
    promtool = require_program("promtool")
    found = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yaml"], cwd=DEPLOY, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_in_containers_every_process_is_scraped_under_its_name() -> None:
    composed = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_bytes(), type=Composed).services
    scraped = msgspec.yaml.decode((DEPLOY / "compose" / "prometheus.yml").read_bytes(), type=Scraping).scrape_configs
    processes = {name for name, service in composed.items() if service.command == name} - {"migrate"}
    assert {job.job_name for job in scraped} == {f"quizstream-{name}" for name in processes}
    assert {name for job in scraped for one in job.dns_sd_configs for name in one.names} == processes


def test_prometheus_takes_the_configuration_of_the_containers(tmp_path: Path) -> None:
    promtool = require_program("promtool")
    for file in (DEPLOY / "compose" / "prometheus.yml", DEPLOY / "alerts.yaml"):
        shutil.copy(file, tmp_path)
    found = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(ALERTS)} rules found" in found.stdout
