"""The list of metrics that operators read says what the code has."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from quizstream.contracts.metrics import (
    CANARY_METRICS,
    COLLECTED_METRICS,
    GATEWAY_METRICS,
    HTTP_METRICS,
    METRICS,
    PROCESS_METRICS,
    READER_METRICS,
    WORKER_METRICS,
    Metric,
)
from quizstream.runtime.telemetry import Meters

DOCUMENT = (Path(__file__).parents[2] / "deploy" / "METRICS.md").read_text(encoding="utf-8")
SHOWN_BY: Mapping[str, Sequence[Metric]] = {
    "all": (*PROCESS_METRICS, *COLLECTED_METRICS),
    "gateway, reader": HTTP_METRICS,
    "gateway": GATEWAY_METRICS,
    "worker": WORKER_METRICS,
    "reader": READER_METRICS,
    "canary": CANARY_METRICS,
}


def unit_of(name: str) -> str:
    """The unit that a name ends in; what has none is a number."""
    if name.endswith("_timestamp_seconds") or name == "quizstream_process_start_time_seconds":
        return "seconds since 1970"
    found = re.search(r"_(seconds|bytes|rows)(_total)?$", name)
    return found[1] if found else ""


def metrics_table() -> str:
    """The table as it must stand in deploy/METRICS.md."""

    def line(metric: Metric, processes: str) -> str:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        cells = (f"`{metric.name}`", metric.kind, labels, unit_of(metric.name), processes, metric.documentation)
        return f"| {' | '.join(cells)} |"

    head = ["| name | type | labels | unit | shown by | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(line(metric, processes) for processes, some in SHOWN_BY.items() for metric in some)])


def test_the_table_of_metrics_is_what_the_code_has() -> None:
    found = re.search(r"<!-- metrics -->\n(.*)\n<!-- /metrics -->", DOCUMENT, re.DOTALL)
    assert found
    assert found[1] == metrics_table()


def test_every_metric_is_shown_by_some_process() -> None:
    assert {metric for some in SHOWN_BY.values() for metric in some} == {*METRICS, *COLLECTED_METRICS}


def test_what_the_library_collects_is_listed_with_its_type() -> None:
    registry: CollectorRegistry = Meters(()).registry
    collected = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in registry.collect()
    }
    assert collected == {metric.name: metric.kind for metric in COLLECTED_METRICS}
