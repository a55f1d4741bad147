"""The gateway put together: the only place where its parts meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from quizstream.contracts.access import Grant, grant_from_claims
from quizstream.contracts.errors import RateLimited, TokenRefused, keys_unavailable
from quizstream.contracts.metrics import (
    BUILD_INFO,
    GATEWAY_METRICS,
    HOP_UP,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CLOSED,
    HTTP_CONNECTIONS_LIMIT,
    HTTP_METRICS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    HTTP_REQUESTS_RUNNING,
    PROCESS_METRICS,
    TOKEN_KEYS,
    TOKEN_KEYS_CURRENT,
)
from quizstream.contracts.openapi import openapi_document
from quizstream.contracts.resources import ROUTE_PATTERN
from quizstream.gateway.encode import Target
from quizstream.gateway.in_flight import InFlightBudget
from quizstream.gateway.measures import Measures
from quizstream.gateway.publish import Publisher
from quizstream.gateway.settings import GatewaySettings
from quizstream.gateway.submit import SubmitEvents, Terms
from quizstream.gateway.topic_check import check_topics
from quizstream.runtime import kafka
from quizstream.runtime.access import Refusals, TokenVerifier, open_verifier
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.descriptors import ensure_descriptors
from quizstream.runtime.documents import attach_documents
from quizstream.runtime.health import Health, Probe
from quizstream.runtime.kafka_access import kafka_access
from quizstream.runtime.lifecycle import Lifetime, calm_garbage_collector
from quizstream.runtime.rate_limit import RateLimits
from quizstream.runtime.telemetry import Meters
from quizstream.runtime.web import HttpMeters, serving, site_of

CLIENT_ID: Final = "quizstream-gateway"
LOG: Final = "kafka"  # the hop's name in `/readyz` and `quizstream_hop_up`


class Gateway(NamedTuple):
    """The gateway without a server around it: what answers POST, what it holds, and what it depends on."""

    submit: SubmitEvents
    budget: InFlightBudget
    probe: Probe


@asynccontextmanager
async def opened(
    settings: GatewaySettings, verifier: TokenVerifier[Grant], meters: Meters, lifetime: Lifetime
) -> AsyncIterator[Gateway]:
    """Check the topics and keep a producer while the body runs; requests must be answered before its end.

    Raises:
        TopicUnfit: a topic is missing or too weak, or Kafka did not answer.

    """
    access = kafka_access(settings)
    await check_topics(settings, access)
    measures = Measures(meters)
    budget = InFlightBudget(settings.inflight_bytes)
    measures.inflight_limit_bytes.set(budget.max_bytes)
    measures.inflight_bytes.set_function(lambda: budget.held_bytes)
    publisher = Publisher(partial(kafka.producer, access, client_id=CLIENT_ID), measures)
    target = Target(settings.topic, settings.partitions, settings.recognise_redelivery)
    terms = Terms(target, settings.max_body_bytes, settings.publish_deadline_seconds)
    submit = SubmitEvents(verifier, RateLimits(settings, RateLimited), publisher, budget, measures, terms)
    async with lifetime.side_task("publisher", publisher.run()):
        yield Gateway(submit, budget, Probe(LOG, publisher.check))


def attach(app: web.Application, gateway: Gateway) -> None:
    """Let `app` answer POST; another part may serve other methods of the same path."""
    app.router.add_route(hdrs.METH_POST, ROUTE_PATTERN, gateway.submit.handle)


def create_app(gateway: Gateway) -> web.Application:
    """Make the application of a gateway that runs alone."""
    app = web.Application()
    attach(app, gateway)
    attach_documents(app, openapi_document())
    return app


@asynccontextmanager
async def running(settings: GatewaySettings, lifetime: Lifetime) -> AsyncIterator[None]:
    """Run the gateway's process: the API and the admin port.

    Raises:
        StartRefused: no key to verify tokens with, a topic that is not safe to publish to, or too few descriptors.

    """
    ensure_descriptors(settings.max_connections)
    meters = Meters((*PROCESS_METRICS, *HTTP_METRICS, *GATEWAY_METRICS))
    meters.gauge(BUILD_INFO).labels(version("quizstream"), "gateway").set(1)
    verifier = await open_verifier(settings, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    meters.gauge(HTTP_CONNECTIONS_LIMIT).set(settings.max_connections)
    meters.gauge(TOKEN_KEYS).set_function(lambda: verifier.keys.key_count)
    meters.gauge(TOKEN_KEYS_CURRENT).set_function(lambda: verifier.keys.complete)
    async with opened(settings, verifier, meters, lifetime) as gateway:
        health = Health([gateway.probe])
        meters.gauge(HOP_UP).labels(LOG).set_function(lambda: LOG not in health.readiness().failing)
        async with (
            serving_admin(settings.admin_host, settings.admin_port, health, meters.registry),
            lifetime.side_task("keys", verifier.keys.keep_fresh()),
            lifetime.side_task("probes", health.watch()),
            serving(create_app(gateway), site_of(settings, _http_meters(meters), health.set_draining)),
        ):
            calm_garbage_collector()
            yield


def _http_meters(meters: Meters) -> HttpMeters:
    return HttpMeters(
        meters.counter(HTTP_REQUESTS),
        meters.histogram(HTTP_REQUEST_DURATION),
        meters.gauge(HTTP_REQUESTS_RUNNING),
        meters.gauge(HTTP_CONNECTIONS),
        meters.counter(HTTP_CONNECTIONS_CLOSED),
    )
