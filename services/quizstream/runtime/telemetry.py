"""Logs and metrics.

A log line is an event name with fields, on stderr. Messages of exceptions stay out of it: they may quote what was sent
(a request line with a token, an event with a student's answer). Their types, places, errno, SQLSTATE and code go in.
"""

import errno
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, Protocol, TextIO, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

REDACTED: Final = "[redacted]"
MAX_FRAMES_LOGGED: Final = 20

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FOREIGN_LOGGERS: Final = ("aiokafka", "aiohttp", "asyncio", "asyncpg")
# In an outage it writes several lines for each of up to ten retries a second; our own events tell it once.
_REPETITIVE_LOGGERS: Final = ("aiokafka",)
_FORMATTED_LOGGERS: Final = ("aiokafka",)  # formats broker, topic and offset into its messages, never a record
_SECRET_NAMES: Final = re.compile(
    r"(?i)(^|_)(token|authorization|password|secret|jwt|cookie|database_url|dsn|payload|body|raw|event_data)(_|$)"
)
_SECRET_TEXT: Final = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*){1,2}"  # a JSON Web Token
    r"|(?<=access_token=)[^&\s\"']+"
    r"|(?i:(?<=bearer ))\S+"
    r"|(?<=://)[^/@\s]+(?=@)"  # user and password of an address
)


def configure_logging(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "console"]) -> None:
    """Send the logs of this process, and the warnings of its libraries, to stderr in one form."""
    render = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            explain_exceptions,
            redact_secrets,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_StderrLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    for name in _FOREIGN_LOGGERS:
        foreign = logging.getLogger(name)
        foreign.handlers, foreign.propagate = [_ForeignHandler(logging.WARNING)], False
    for name in _REPETITIVE_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _StderrLoggerFactory:
    """Writes to what stderr is at that moment, which a test or a daemon may have replaced."""

    def __call__(self, *_: object) -> structlog.WriteLogger:
        stream: TextIO = sys.stderr
        return structlog.WriteLogger(stream)


class _ForeignHandler(logging.Handler):
    """Passes a library's record on. Arguments are left out, but those of libraries known to quote nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        log: FilteringBoundLogger = structlog.get_logger()
        formatted = record.name.startswith(_FORMATTED_LOGGERS)
        message = (record.getMessage() if formatted else str(record.msg)).partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, "library_message", logger=record.name, message=message, exc_info=error)


def explain_exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info`, and any exception among the fields, by what of it may be read by all."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
        event["frames"] = _frames(error)
    for name, value in event.items():
        if isinstance(value, BaseException):
            event[name] = describe_exception(value)
    return event


def describe_exception(error: BaseException) -> str:
    """Give type, errno, SQLSTATE and code of an exception and of its causes, never their messages."""
    return " < ".join(map(_described, _chain(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            link = link.exceptions[0]
        else:
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _described(error: BaseException) -> str:
    facts = []
    if isinstance(error, OSError) and error.errno is not None:
        facts.append(errno.errorcode.get(error.errno, str(error.errno)))
    facts += [str(fact) for name in ("sqlstate", "code") if isinstance(fact := getattr(error, name, None), str | int)]
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}({', '.join(facts)})" if facts else name


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES_LOGGED:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what is secret by its name or by its look: a last defence, as no call should pass it at all."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: object, value: object) -> object:
    if isinstance(name, str) and _SECRET_NAMES.search(name):
        return REDACTED
    if isinstance(value, str):
        return _SECRET_TEXT.sub(REDACTED, value)
    if isinstance(value, bytes | bytearray | memoryview):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redacted(key, member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(None, member) for member in value]
    return value


class MetricDefinition(Protocol):
    """What a closed list of metrics says about each: its full name, its meaning, its labels."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def documentation(self) -> str: ...  # noqa: D102
    @property
    def labels(self) -> Sequence[str]: ...  # noqa: D102


class CounterDefinition(MetricDefinition, Protocol):
    """A metric that only grows; its name ends in `_total`."""

    @property
    def kind(self) -> Literal["counter"]: ...  # noqa: D102


class GaugeDefinition(MetricDefinition, Protocol):
    """A metric that goes up and down."""

    @property
    def kind(self) -> Literal["gauge"]: ...  # noqa: D102


class HistogramDefinition(MetricDefinition, Protocol):
    """A metric that counts observations by size."""

    @property
    def kind(self) -> Literal["histogram"]: ...  # noqa: D102
    @property
    def buckets(self) -> Sequence[float]: ...  # noqa: D102


Definition = CounterDefinition | GaugeDefinition | HistogramDefinition
MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)


class Meters:
    """The metrics of one process, made from a typed list; all of them are there from the start, at zero."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        # Series of creation times would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left out `-> None`
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="quizstream", registry=self.registry)
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        for definition in definitions:
            self._make(definition)

    def counter(self, definition: CounterDefinition) -> Counter:
        """Give the counter of a definition of the list."""
        return self._find(definition, Counter)

    def gauge(self, definition: GaugeDefinition) -> Gauge:
        """Give the gauge of a definition of the list."""
        return self._find(definition, Gauge)

    def histogram(self, definition: HistogramDefinition) -> Histogram:
        """Give the histogram of a definition of the list."""
        return self._find(definition, Histogram)

    def _find(self, definition: MetricDefinition, kind: type[MetricT]) -> MetricT:
        metric = self._made[definition.name]
        if not isinstance(metric, kind):
            raise TypeError(definition.name)
        return metric

    def _make(self, definition: Definition) -> None:
        name, text, labels = definition.name, definition.documentation, definition.labels
        if definition.kind == "counter":
            self._made[name] = Counter(name, text, labels, registry=self.registry)
        elif definition.kind == "gauge":
            self._made[name] = Gauge(name, text, labels, registry=self.registry)
        else:
            self._made[name] = Histogram(name, text, labels, registry=self.registry, buckets=definition.buckets)
