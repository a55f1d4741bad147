"""How both HTTP services are served: one shape of errors, CORS, request ids, metrics, start and orderly stop.

All of it is one function around the application (`_Edge.handle`), not a chain of middlewares: each of those costs every
request, and what fails before routing (an unknown expectation, an undecodable path) never reaches them. What the HTTP
parser refuses never reaches an application at all; `_Connection.handle_error` answers it.
"""

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import FilteringBoundLogger

from quizstream.runtime.connections import Connections
from quizstream.runtime.cors import AllowedOrigins
from quizstream.runtime.problems import CLIENT_LEFT, Problem, problem_of, problem_of_status, render_problem
from quizstream.runtime.settings import HttpSettings

REQUEST_ID: Final = "X-Request-Id"
MADE_REQUEST_ID: Final = web.RequestKey("made_request_id", str)
UNMATCHED: Final = "unmatched"
# After the time to finish, what still runs is cancelled; that takes no longer than this.
CANCEL_SECONDS: Final = 1.0
NO_ROOM: Final = Problem(
    503, ({"message": "Too many connections are open.", "code": "too_many_connections"},), {hdrs.RETRY_AFTER: "5"}
)

_SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_METHODS: Final = frozenset(hdrs.METH_ALL)

log: FilteringBoundLogger = structlog.get_logger()

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class HttpMeters:
    """Where requests are counted: by route, method and status; their durations by route and method; those running.

    And connections: those that are open; those that were closed, by the reason.
    """

    requests: Counter
    duration: Histogram
    running: Gauge
    connections: Gauge
    connections_closed: Counter


@dataclass(frozen=True)
class Site:
    """Where and how an application is served. Port 0 takes a free one; `on_drain` makes the process not ready.

    Beyond `max_connections` idle ones are closed. A head has `header_seconds` from its first byte on; a connection
    without one is closed after `keepalive_seconds`. At the stop the site is served for `drain_seconds` more, as not
    ready; then it stops accepting and gives running requests `finish_seconds`.
    """

    host: str
    port: int
    allowed_origins: Collection[str] = ()
    meters: HttpMeters | None = None
    on_drain: Callable[[], None] | None = None
    keepalive_seconds: float = 75.0
    header_seconds: float = 20.0
    max_connections: int = 10_000
    drain_seconds: float = 0.0
    finish_seconds: float = 20.0
    backlog: int = field(default=1024)  # a whole institution's pages connect within the same second


def site_of(settings: HttpSettings, meters: HttpMeters, on_drain: Callable[[], None]) -> Site:
    """Give the site that the settings describe."""
    return Site(
        settings.host,
        settings.port,
        allowed_origins=settings.allowed_origins,
        meters=meters,
        on_drain=on_drain,
        keepalive_seconds=settings.keepalive_seconds,
        header_seconds=settings.header_seconds,
        max_connections=settings.max_connections,
        drain_seconds=settings.drain_seconds,
        finish_seconds=settings.finish_seconds,
    )


def request_id(request: web.BaseRequest) -> str:
    """Give the id under which this request is logged and answered: the client's if it is sane, else one of ours."""
    sent = request.headers.get(REQUEST_ID)
    if sent is not None and _SANE_REQUEST_ID.fullmatch(sent):
        return sent
    if MADE_REQUEST_ID not in request:
        request[MADE_REQUEST_ID] = _new_request_id()
    return request[MADE_REQUEST_ID]


def _answered_id(request: web.BaseRequest) -> str:
    """Give `request_id`, but do not keep a new one: a request that nobody logged has nothing to compare with."""
    if len(request) or REQUEST_ID in request.headers:
        return request_id(request)
    return _new_request_id()


def _new_request_id() -> str:
    return f"{_ID_PREFIX}{next(_ids):08x}"


# A random part per process and a number cost a tenth of a random id per request.
_ID_PREFIX: Final = secrets.token_hex(8)
_ids: Final = itertools.count(1)


class _Tally:
    """Counts requests; the children of metrics are looked up once per route, method and status."""

    def __init__(self, meters: HttpMeters) -> None:
        self._meters = meters
        self._requests: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._durations: dict[tuple[str, str], Callable[[float], None]] = {}

    def count(self, request: web.BaseRequest, status: int, seconds: float) -> None:
        route = _route_of(request)
        method = request.method if request.method in _METHODS else "other"
        self._counter(route, method, status)()
        self._observer(route, method)(seconds)

    def _counter(self, route: str, method: str, status: int) -> Callable[[], None]:
        key = (route, method, status)
        if key not in self._requests:
            self._requests[key] = self._meters.requests.labels(route, method, str(status)).inc
        return self._requests[key]

    def _observer(self, route: str, method: str) -> Callable[[float], None]:
        key = (route, method)
        if key not in self._durations:
            self._durations[key] = self._meters.duration.labels(route, method).observe
        return self._durations[key]


def _route_of(request: web.BaseRequest) -> str:
    if not isinstance(request, web.Request):
        return UNMATCHED
    try:
        resource = request.match_info.route.resource
    except AssertionError:  # aiohttp asserts that the request has been routed
        return UNMATCHED
    return UNMATCHED if resource is None else resource.canonical


class _Edge:
    """What stands between a connection and an application."""

    def __init__(self, site: Site) -> None:
        self._origins = AllowedOrigins(site.allowed_origins)
        self._tally = _Tally(site.meters) if site.meters else None
        self.connections = Connections(site.max_connections)
        self._closed = site.meters.connections_closed if site.meters else None
        self._idle = asyncio.Event()
        self._idle.set()
        self.running = 0
        self.draining = False

    def around(self, application: _Handler) -> _Handler:
        """Give the handler that answers for `application` whatever becomes of a request."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            began = time.perf_counter()
            self.running += 1
            self._idle.clear()
            connection = request.protocol
            if isinstance(connection, _Connection):
                self.connections.begin_request(connection)
            try:
                response = await self._answer(application, request)
                if not response.prepared:
                    self.mark(request, response)
                if self._tally:
                    self._tally.count(request, response.status, time.perf_counter() - began)
                return response
            finally:
                self.running -= 1
                if not self.running:
                    self._idle.set()
                if isinstance(connection, _Connection):
                    self.connections.end_request(connection)

        return handle

    async def _answer(self, application: _Handler, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await application(request)
        except (web.HTTPRedirection, web.HTTPSuccessful):
            raise  # results, not errors; aiohttp sends them
        except Exception as error:  # noqa: BLE001  the boundary of a request: any bug is logged and answered 500
            return self._answer_error(request, error)

    def _answer_error(self, request: web.BaseRequest, error: Exception) -> web.Response:
        problem = problem_of(error)
        if request.transport is None or request.transport.is_closing():
            if problem is None and not isinstance(error, ConnectionError):
                _log_bug(request, error)
            return web.Response(status=CLIENT_LEFT)
        if request.writer.output_size > 0:
            _break_off(request, error)
        elif problem is None:
            _log_bug(request, error)
        elif isinstance(error, web.HTTPMethodNotAllowed) and request.method == hdrs.METH_OPTIONS:
            return self._origins.preflight(request, problem.headers[hdrs.ALLOW])
        return render_problem(problem or problem_of_status(500), ",".join(request.headers.getall(hdrs.ACCEPT, ())))

    def count_closed(self, reason: Literal["idle", "refused", "slow"]) -> None:
        """Take note of a connection that was closed for want of room, or of patience."""
        if self._closed is not None:
            self._closed.labels(reason).inc()

    def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Add the headers that every answer has."""
        response.headers[REQUEST_ID] = _answered_id(request)
        self._origins.mark(request, response)
        if self.draining:  # the client's next request shall go to a process that stays
            response.force_close()

    async def mark_stream(self, request: web.Request, response: web.StreamResponse) -> None:
        """Do the same for an answer that its handler begins to send."""
        if REQUEST_ID not in response.headers:
            self.mark(request, response)

    async def until_idle(self, seconds: float) -> None:
        """Wait until no request runs, at most for `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


def _log_bug(request: web.BaseRequest, error: Exception) -> None:
    log.error("request_failed", request_id=request_id(request), route=_route_of(request), exc_info=error)


def _break_off(request: web.BaseRequest, error: Exception) -> None:
    """Reset the connection of an answer that has begun: closing it in order could pass for the answer's end."""
    log.error("answer_broken_off", request_id=request_id(request), route=_route_of(request), exc_info=error)
    if request.transport is not None:
        request.transport.abort()


def _written(problem: Problem) -> bytes:
    """Give a whole answer as it goes over the wire."""
    answer = render_problem(problem, "")
    answer.headers[hdrs.CONNECTION] = "close"
    body = answer.body if isinstance(answer.body, bytes) else b""
    answer.headers[hdrs.CONTENT_LENGTH] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode("ascii") + body


_NO_ROOM_ANSWER: Final = _written(NO_ROOM)


class _Connection(RequestHandler):
    """A connection whose own refusals have the shape of all others, and whose heads come in time."""

    __slots__ = ("_edge", "_head_timer", "_header_seconds")

    def __init__(self, server: web.Server, edge: _Edge, site: Site) -> None:
        # Bodies stay compressed: the gateway bounds them while it decompresses.
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=site.keepalive_seconds,
            access_log=None,  # type: ignore[arg-type]  # documented as the way to have none
            auto_decompress=False,
        )
        self._edge = edge
        self._header_seconds = site.header_seconds
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request runs, and none has come; as aiohttp itself decides when the time of a connection is up."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room or one that is idle makes some; else say so and close."""
        super().connection_made(transport)
        connections = self._edge.connections
        if connections.is_full:
            if not connections.make_room():
                self._edge.count_closed("refused")
                self._refuse()
                return
            self._edge.count_closed("idle")
        connections.open(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room for the next."""
        self._edge.connections.close(self)
        self._stop_timer()
        super().connection_lost(exc)

    def _refuse(self) -> None:
        """Answer before there is a request: without one, a client may have a 503, and at the least an end."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.write(_NO_ROOM_ANSWER)
        self.force_close()

    def _watch_head(self) -> None:
        """Give a head that has begun and not ended its time."""
        if not self.is_idle:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(self._header_seconds, self._give_up_head)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self.is_idle:
            self._edge.count_closed("slow")
            self.force_close()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and tell a handler that waits for a body when the parser has refused the rest of it.

        aiohttp (3.14.5, C parser) queues its refusal behind the request and leaves the handler waiting for ever.
        """
        super().data_received(data)
        self._watch_head()
        request = self._current_request
        # Nothing but that refusal can be queued behind a body that has not ended.
        if self._messages and request is not None and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError())
            request.content.feed_eof()
            self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it quotes the request
    ) -> web.StreamResponse:
        """Answer what the HTTP parser refused; the connection is closed as nothing after it can be understood."""
        if request.writer.output_size > 0:
            raise ConnectionError
        if status >= 500:
            log.error("connection_failed", exc_info=exc)
        else:
            log.debug("request_unparseable", exc_info=exc)
        # Nothing of such a request is known, so neither its origin nor what it accepts.
        response = render_problem(problem_of_status(431 if isinstance(exc, LineTooLong) else status), "")
        response.headers[REQUEST_ID] = _new_request_id()
        response.force_close()
        return response


class _Server(web.Server):
    def __init__(self, plain: web.Server, edge: _Edge, site: Site) -> None:
        super().__init__(edge.around(plain.request_handler), request_factory=plain.request_factory)
        self._edge = edge
        self._site = site

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._edge, self._site)


class _Runner(web.AppRunner):
    __slots__ = ("_edge", "_site")

    def __init__(self, app: web.Application, edge: _Edge, site: Site) -> None:
        super().__init__(app, shutdown_timeout=CANCEL_SECONDS)
        self._edge = edge
        self._site = site

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._edge, self._site)


@asynccontextmanager
async def serving(app: web.Application, site: Site) -> AsyncIterator[int]:
    """Serve `app` while the body runs; gives the bound port.

    An orderly end drains as `Site` says; after an exception only running requests get their time.

    Raises:
        OSError: the address cannot be bound.

    """
    edge = _Edge(site)
    app.on_response_prepare.append(edge.mark_stream)
    if site.meters:
        site.meters.running.set_function(lambda: edge.running)
        site.meters.connections.set_function(lambda: len(edge.connections))
    runner = _Runner(app, edge, site)
    await runner.setup()
    try:
        tcp = web.TCPSite(runner, site.host, site.port, backlog=site.backlog)
        await tcp.start()
        yield tcp.port
        await _drain(edge, site)
    finally:
        for listener in runner.sites:
            await listener.stop()
        # aiohttp's own stop drops what is still to come of a body, so requests finish before it.
        await edge.until_idle(site.finish_seconds)
        await runner.cleanup()


async def _drain(edge: _Edge, site: Site) -> None:
    edge.draining = True
    if site.on_drain is not None:
        site.on_drain()
    if site.drain_seconds:
        log.info("draining", seconds=site.drain_seconds)
        await asyncio.sleep(site.drain_seconds)
