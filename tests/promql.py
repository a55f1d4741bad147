"""What an expression of PromQL refers to, held against the list of metrics. Its syntax is promtool's affair."""

import re
from collections.abc import Iterator
from typing import Final

from quizstream.contracts.metrics import COLLECTED_METRICS, METRICS, Metric

# Labels that every target has (https://prometheus.io/docs/concepts/jobs_instances/).
_OF_TARGETS: Final = frozenset({"instance", "job"})
_METRICS: Final = {metric.name: metric for metric in (*METRICS, *COLLECTED_METRICS)}
_WORDS: Final = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool"}
)

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR: Final = re.compile(rf"({_NAME})\s*\{{([^}}]*)\}}")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_IDENTIFIER: Final = re.compile(rf"(?<![\w$.])({_NAME})\b(?!\s*\()")


def unknown_references(expression: str) -> list[str]:
    """Give the metrics and labels of an expression that nobody shows."""
    text = _STRING.sub('""', expression)
    names = [name for name in _metric_names(text) if name != "up"]
    found = {name: _listed(name) for name in names}
    labels = {label for metric in found.values() if metric for label in _labels(metric)} | _OF_TARGETS
    selected = [f"{name}{{{label}}}" for name, label in _selected(text) if label not in _labels_of(name)]
    grouped = [label for label in _grouped(text) if label not in labels]
    return [*(name for name, metric in found.items() if metric is None), *selected, *grouped]


def _metric_names(text: str) -> Iterator[str]:
    bare = _RANGE.sub("", _GROUPING.sub("", re.sub(r"\{[^}]*\}", "", text)))
    return (name for name in _IDENTIFIER.findall(bare) if name not in _WORDS)


def _listed(name: str) -> Metric | None:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    histogram = _METRICS.get(base)
    return histogram if histogram and histogram.kind == "histogram" and base != name else _plain(name)


def _plain(name: str) -> Metric | None:
    metric = _METRICS.get(name)
    return None if metric is None or metric.kind == "histogram" else metric


def _labels(metric: Metric) -> frozenset[str]:
    return frozenset(metric.labels) | ({"le"} if metric.kind == "histogram" else set())


def _labels_of(name: str) -> frozenset[str]:
    metric = _listed(name)
    return _OF_TARGETS | (_labels(metric) if metric else frozenset())


def _selected(text: str) -> Iterator[tuple[str, str]]:
    for name, matchers in _SELECTOR.findall(text):
        yield from ((name, label) for label in re.findall(rf"({_NAME})\s*(?:=~|!~|!=|=)", matchers))


def _grouped(text: str) -> Iterator[str]:
    for labels in _GROUPING.findall(text):
        yield from re.findall(_NAME, labels)
