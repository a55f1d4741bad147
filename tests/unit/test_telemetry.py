"""What reaches logs and metrics, and what must not."""

import json
import logging
import re
from collections.abc import Iterator
from typing import cast

import pytest
import structlog
from prometheus_client import generate_latest
from structlog.typing import FilteringBoundLogger

from quizstream.contracts.metrics import BUILD_INFO, EVENTS_RECEIVED, FLUSH_ROWS, METRICS, CounterMetric
from quizstream.runtime.telemetry import REDACTED, Meters, configure_logging, describe_exception, redact_secrets

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl"
log: FilteringBoundLogger = structlog.get_logger()


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    names = ("aiokafka", "aiohttp", "asyncio", "asyncpg")
    kept = [(logging.getLogger(name), logging.getLogger(name).handlers) for name in names]
    yield
    structlog.reset_defaults()
    for logger, handlers in kept:
        logger.handlers, logger.propagate = handlers, True


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(capsys.readouterr().err.splitlines()[-1]))


def test_a_line_is_one_json_object_with_the_event_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    log.info("flushed", rows=3)
    line = last_line(capsys)
    assert (line["event"], line["rows"], line["level"]) == ("flushed", 3, "info")
    assert str(line["timestamp"]).endswith("Z")


def test_less_severe_events_than_configured_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    log.info("flushed")
    assert capsys.readouterr().err == ""


def test_the_console_form_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    log.info("flushed", rows=3)
    assert "flushed" in (text := capsys.readouterr().err)
    assert "rows=3" in text


def test_an_exception_shows_type_and_place_but_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    try:
        int("the student's answer")
    except ValueError as error:
        log.exception("request_failed", cause=error)
    text = capsys.readouterr().err
    line = json.loads(text)
    assert "answer" not in text
    assert (line["exception"], line["cause"]) == ("ValueError", "ValueError")
    assert "test_telemetry.py" in line["frames"][-1]


def test_causes_errno_and_codes_are_described() -> None:
    class StoreError(Exception):
        sqlstate = "22P02"

    error = StoreError("secret")
    error.__cause__ = ConnectionRefusedError(111, "secret")
    assert describe_exception(error).endswith("StoreError(22P02) < ConnectionRefusedError(ECONNREFUSED)")


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "jwt_secret", "database_url", "event_data"])
def test_fields_with_secret_names_are_replaced(name: str) -> None:
    assert redact_secrets(None, "info", {"event": "x", name: "abc"}) == {"event": "x", name: REDACTED}


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"GET /events?access_token={TOKEN[:9]}&page=1",
        "Bearer abcdef",
        "postgresql://quiz:hunter2@db/quiz",
    ],
)
def test_texts_that_look_secret_are_replaced_however_deep(text: str) -> None:
    shown = redact_secrets(None, "info", {"event": "x", "deep": [{"inner": (text,)}]})
    assert REDACTED in str(shown)
    for secret in (TOKEN[:9], "abcdef", "hunter2"):
        assert secret not in str(shown)


def test_bytes_are_never_logged() -> None:
    assert redact_secrets(None, "info", {"event": "x", "sent": b"abc"})["sent"] == REDACTED


def test_warnings_of_libraries_come_in_the_same_form_without_their_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "the payload")
    line = last_line(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("library_message", "aiohttp.server", "error")
    assert line["message"] == "Error handling request from %s"


def test_only_the_first_line_of_a_report_of_asyncio_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: ValueError('the payload')")
    assert last_line(capsys)["message"] == "Task exception was never retrieved"


def test_chatter_of_libraries_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "json")
    logging.getLogger("aiokafka").info("Discovered coordinator")
    assert capsys.readouterr().err == ""


def test_every_metric_is_shown_under_its_own_name_from_the_start() -> None:
    shown = {family.name for family in Meters(METRICS).registry.collect()}
    assert {definition.name.removesuffix("_total") for definition in METRICS} <= shown
    assert all(name.startswith("quizstream_") for name in shown)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.name))
def test_metrics_keep_to_prefix_units_and_suffix(metric: CounterMetric) -> None:
    assert re.fullmatch(r"quizstream_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(ms|millis|milliseconds|kb|minutes)(_|$)", metric.name)
    assert metric.documentation.endswith(".")
    assert not {
        label for label in metric.labels if label.endswith("id") or label in {"actor", "event_type", "path_raw"}
    }


def test_names_are_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_a_definition_gives_its_metric() -> None:
    meters = Meters(METRICS)
    meters.counter(EVENTS_RECEIVED).labels("accepted").inc(3)
    meters.gauge(BUILD_INFO).labels("1", "gateway").set(1)
    meters.histogram(FLUSH_ROWS).observe(7)
    shown = generate_latest(meters.registry).decode()
    assert 'quizstream_events_received_total{outcome="accepted"} 3.0' in shown
    assert 'quizstream_flush_rows_bucket{le="20.0"} 1.0' in shown
    assert "_created" not in shown


def test_a_definition_that_is_not_on_the_list_has_no_metric() -> None:
    with pytest.raises(KeyError):
        Meters(()).counter(EVENTS_RECEIVED)
