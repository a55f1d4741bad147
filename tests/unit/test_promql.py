"""The check of alerts and dashboard finds what nobody shows."""

import pytest
from tests.promql import unknown_references


@pytest.mark.parametrize(
    "expression",
    [
        'up{job=~".*quizstream.*"} == 0',
        'sum by (method) (rate(quizstream_http_requests_total{status="503"}[5m])) > 0.01',
        "histogram_quantile(0.9, sum by (le) (rate(quizstream_flush_rows_bucket[$__rate_interval]))) > 1e3",
        "(quizstream_hop_up == 0) * on (instance) group_left (process) quizstream_build_info",
        "rate(quizstream_flush_rows_sum[5m]) / rate(quizstream_flush_rows_count[5m])",
        'quizstream_process_open_fds{instance=~"$instance"} unless max(quizstream_months_ahead)',
    ],
)
def test_what_is_on_the_list_is_known(expression: str) -> None:
    assert unknown_references(expression) == []


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("rate(quizstream_http_request_total[5m])", ["quizstream_http_request_total"]),
        ("node_load1 > 5", ["node_load1"]),
        ("quizstream_flush_rows > 5", ["quizstream_flush_rows"]),
        ("quizstream_months_ahead_sum", ["quizstream_months_ahead_sum"]),
        ('quizstream_flushes_total{reason="failed"}', ["quizstream_flushes_total{reason}"]),
        ("sum by (route) (quizstream_flushes_total)", ["route"]),
    ],
)
def test_what_is_not_on_the_list_is_named(expression: str, unknown: list[str]) -> None:
    assert unknown_references(expression) == unknown
