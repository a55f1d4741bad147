"""The reader put together: the only place where its parts meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from quizstream.contracts.access import Grant, grant_from_claims
from quizstream.contracts.errors import RateLimited, TokenRefused, keys_unavailable
from quizstream.contracts.metrics import (
    ANSWER_BYTES,
    ANSWER_ROWS,
    ANSWERS,
    BUILD_INFO,
    HOP_UP,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CLOSED,
    HTTP_CONNECTIONS_LIMIT,
    HTTP_METRICS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    HTTP_REQUESTS_RUNNING,
    PROCESS_METRICS,
    READER_METRICS,
    READINGS,
    REPLICA_BEHIND,
    TOKEN_KEYS,
    TOKEN_KEYS_CURRENT,
)
from quizstream.contracts.openapi import openapi_document
from quizstream.contracts.resources import ROUTE_PATTERN
from quizstream.reader.page_query import PageLimits
from quizstream.reader.replica import Freshness, ReplicatedStore
from quizstream.reader.select import SESSION_SETTINGS, EventStore, Store
from quizstream.reader.settings import ReaderSettings
from quizstream.reader.show import AnswerLimits, AnswerMeters, ShowEvents
from quizstream.runtime.access import Refusals, TokenVerifier, open_verifier
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.descriptors import ensure_descriptors
from quizstream.runtime.documents import attach_documents
from quizstream.runtime.forwarded import PublicBase
from quizstream.runtime.health import Health, Probe
from quizstream.runtime.lifecycle import Lifetime, StartRefused
from quizstream.runtime.postgres import PoolTerms, read_pool, refusal
from quizstream.runtime.rate_limit import RateLimits
from quizstream.runtime.telemetry import Meters
from quizstream.runtime.web import HttpMeters, serving, site_of

APPLICATION_NAME: Final = "quizstream-reader"
STORE: Final = "postgresql"  # the hop's name in `/readyz` and `quizstream_hop_up`


class Reader(NamedTuple):
    """The reader without a server around it: what answers GET and HEAD, and what it depends on."""

    show: ShowEvents
    probe: Probe


@asynccontextmanager
async def opened(
    settings: ReaderSettings, verifier: TokenVerifier[Grant], meters: Meters, lifetime: Lifetime
) -> AsyncIterator[Reader]:
    """Give a reader whose connections close at the end. It opens without a store, and tells so in its answers."""
    async with _store(settings, meters, lifetime) as store:
        show = ShowEvents(
            store,
            verifier,
            RateLimits(settings, RateLimited),
            PublicBase(settings.public_url, settings.trusted_proxies),
            AnswerLimits(
                PageLimits(min(settings.default_per_page, settings.max_per_page), settings.max_per_page),
                settings.read_timeout_seconds,
                settings.max_open_answers,
            ),
            AnswerMeters(meters.counter(ANSWERS), meters.histogram(ANSWER_ROWS), meters.counter(ANSWER_BYTES)),
        )
        yield Reader(show, Probe(STORE, store.check))


@asynccontextmanager
async def _store(settings: ReaderSettings, meters: Meters, lifetime: Lifetime) -> AsyncIterator[EventStore]:
    """Give the one server, or the replica with the primary behind it."""
    terms = _terms(settings)
    async with read_pool(settings.database_url.get_secret_value(), terms) as connections:
        primary = Store(connections, settings.read_timeout_seconds)
        if settings.read_database_url is None:
            yield primary
            return
        async with read_pool(settings.read_database_url.get_secret_value(), terms) as others:
            replica = Store(others, settings.read_timeout_seconds)
            readings = meters.counter(READINGS)
            freshness = Freshness(settings.read_staleness_seconds)
            store = ReplicatedStore(primary, replica, freshness, lambda server: readings.labels(server).inc())
            meters.gauge(REPLICA_BEHIND).set_function(lambda: store.behind_seconds)
            async with lifetime.side_task("replica", store.keep_watch()):
                yield store


def _terms(settings: ReaderSettings) -> PoolTerms:
    return PoolTerms(
        APPLICATION_NAME,
        settings.read_connections,
        settings.read_timeout_seconds,
        settings.statement_cache_size,
        SESSION_SETTINGS,
    )


def attach(app: web.Application, reader: Reader) -> None:
    """Let `app` answer GET and HEAD; another part may serve other methods of the same path."""
    for method in (hdrs.METH_GET, hdrs.METH_HEAD):
        app.router.add_route(method, ROUTE_PATTERN, reader.show.handle)


def create_app(reader: Reader) -> web.Application:
    """Make the application of a reader that runs alone."""
    app = web.Application()
    attach(app, reader)
    attach_documents(app, openapi_document())
    return app


@asynccontextmanager
async def running(settings: ReaderSettings, lifetime: Lifetime) -> AsyncIterator[None]:
    """Run the reader's process: the API and the admin port.

    Raises:
        StartRefused: no key to verify tokens with, too few descriptors, or the store answers and will not have us.

    """
    ensure_descriptors(settings.max_connections)
    await _refuse_unusable(settings)
    meters = Meters((*PROCESS_METRICS, *HTTP_METRICS, *READER_METRICS))
    meters.gauge(BUILD_INFO).labels(version("quizstream"), "reader").set(1)
    verifier = await open_verifier(settings, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    meters.gauge(HTTP_CONNECTIONS_LIMIT).set(settings.max_connections)
    meters.gauge(TOKEN_KEYS).set_function(lambda: verifier.keys.key_count)
    meters.gauge(TOKEN_KEYS_CURRENT).set_function(lambda: verifier.keys.complete)
    async with opened(settings, verifier, meters, lifetime) as reader:
        health = Health([reader.probe])
        meters.gauge(HOP_UP).labels(STORE).set_function(lambda: STORE not in health.readiness().failing)
        async with (
            serving_admin(settings.admin_host, settings.admin_port, health, meters.registry),
            lifetime.side_task("keys", verifier.keys.keep_fresh()),
            lifetime.side_task("probes", health.watch()),
            serving(create_app(reader), site_of(settings, _http_meters(meters), health.set_draining)),
        ):
            yield


async def _refuse_unusable(settings: ReaderSettings) -> None:
    for url in filter(None, (settings.database_url, settings.read_database_url)):
        if reason := await refusal(url.get_secret_value(), server_settings=_terms(settings).server_settings):
            raise StartRefused(f"PostgreSQL: {reason}")


def _http_meters(meters: Meters) -> HttpMeters:
    return HttpMeters(
        meters.counter(HTTP_REQUESTS),
        meters.histogram(HTTP_REQUEST_DURATION),
        meters.gauge(HTTP_REQUESTS_RUNNING),
        meters.gauge(HTTP_CONNECTIONS),
        meters.counter(HTTP_CONNECTIONS_CLOSED),
    )
