"""`quizstream dev`: engines and all services in one process, POST and GET on one port."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, redirect_stderr
from functools import partial
from importlib.metadata import version
from typing import Final

import asyncpg
from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from quizstream.canary import app as canary
from quizstream.canary.api import Addresses as CanaryAddresses
from quizstream.canary.findings import Findings
from quizstream.contracts.access import GET_SCOPE, POST_SCOPE, grant_from_claims
from quizstream.contracts.errors import TokenRefused, keys_unavailable
from quizstream.contracts.metrics import (
    BUILD_INFO,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CLOSED,
    HTTP_CONNECTIONS_LIMIT,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    HTTP_REQUESTS_RUNNING,
    METRICS,
    TOKEN_KEYS,
    TOKEN_KEYS_CURRENT,
)
from quizstream.contracts.openapi import openapi_document
from quizstream.gateway import app as gateway
from quizstream.local import engines, ports
from quizstream.local.directories import private
from quizstream.local.errors import LocalEngineError
from quizstream.local.screen import Addresses, render_screen
from quizstream.local.secret import keep_secret
from quizstream.local.settings import DevSettings
from quizstream.reader import app as reader
from quizstream.runtime.access import Refusals, issue_token, open_verifier
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.descriptors import ensure_descriptors
from quizstream.runtime.documents import attach_documents
from quizstream.runtime.health import Health, Probe
from quizstream.runtime.kafka import KafkaFailure
from quizstream.runtime.lifecycle import Lifetime, StartRefused, run
from quizstream.runtime.settings import load
from quizstream.runtime.telemetry import Meters, configure_logging
from quizstream.runtime.web import HttpMeters, serving, site_of
from quizstream.worker import app as worker
from quizstream.worker.prepare import prepare

TOKEN_TTL_SECONDS: Final = 12 * 3600
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where all addresses are served, ask this one


def main() -> int:
    """Run everything until a signal; give the exit status.

    Raises:
        StartRefused: a setting is wrong, or an engine cannot be had.

    """
    settings = load(DevSettings)
    logs = private(private(settings.data_directory) / "logs")
    with (logs / "quizstream.log").open("a", encoding="utf-8", buffering=1) as stream:
        configure_logging(settings.log_level, settings.log_format)
        with redirect_stderr(stream):  # the screen is for the person
            return run(partial(running, settings))


@asynccontextmanager
async def running(settings: DevSettings, lifetime: Lifetime) -> AsyncIterator[None]:
    """Run engines and services while the body runs, and stop them in order.

    Raises:
        StartRefused: an engine cannot be had, a named server refuses, a port is taken, or descriptors are too few.

    """
    ensure_descriptors(settings.max_connections)
    async with AsyncExitStack() as stack:
        try:
            started = await stack.enter_async_context(_engines(settings))
            complete = _completed(settings, started)
            await prepare(complete)
        except (LocalEngineError, KafkaFailure, asyncpg.PostgresError, OSError) as error:
            raise StartRefused(str(error)) from error
        try:
            shown = await stack.enter_async_context(_services(complete, lifetime))
        except OSError as error:  # the API or the admin port of the settings is taken
            raise StartRefused(str(error)) from error
        _say(render_screen(shown))
        yield
        _say("stopping")


def _engines(settings: DevSettings) -> AbstractAsyncContextManager[engines.Engines]:
    """Give the engines that no setting names."""
    named = settings.model_fields_set
    return engines.running(
        settings.data_directory,
        bootstrap_servers=settings.kafka_bootstrap_servers if "kafka_bootstrap_servers" in named else None,
        database_url=settings.database_url.get_secret_value() if "database_url" in named else None,
        say=_say,
    )


def _completed(settings: DevSettings, started: engines.Engines) -> DevSettings:
    """Add the addresses of what was started, a secret where no key is set, and free ports for those not asked for."""
    found: dict[str, object] = {
        "kafka_bootstrap_servers": started.bootstrap_servers,
        "database_url": SecretStr(started.database_url),
    }
    if not (settings.jwt_secret or settings.jwks_file or settings.jwks_url):
        found["jwt_secret"] = SecretStr(keep_secret(settings.data_directory))
    found |= {
        name: ports.choose(wanted)
        for name, wanted in (("port", settings.port), ("admin_port", settings.admin_port))
        if wanted and name not in settings.model_fields_set
    }
    return settings.model_copy(update=found)


@asynccontextmanager
async def _services(settings: DevSettings, lifetime: Lifetime) -> AsyncIterator[Addresses]:
    meters = Meters(METRICS)
    meters.gauge(BUILD_INFO).labels(version("quizstream"), "dev").set(1)
    verifier = await open_verifier(settings, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    meters.gauge(HTTP_CONNECTIONS_LIMIT).set(settings.max_connections)
    meters.gauge(TOKEN_KEYS).set_function(lambda: verifier.keys.key_count)
    meters.gauge(TOKEN_KEYS_CURRENT).set_function(lambda: verifier.keys.complete)
    app = web.Application()
    async with (
        worker.writing(settings, lifetime, meters) as worker_probes,
        reader.opened(settings, verifier, meters, lifetime) as reading,
        gateway.opened(settings, verifier, meters, lifetime) as taking,
    ):
        gateway.attach(app, taking)
        reader.attach(app, reading)
        attach_documents(app, openapi_document())
        findings = Findings(meters)
        health = Health(
            [
                *_named("gateway", taking.probe),
                *_named("reader", reading.probe),
                *_named("worker", *worker_probes),
                *(_named("canary", *findings.probes()) if _can_fly(settings) else ()),
            ]
        )
        async with (
            serving_admin(settings.admin_host, settings.admin_port, health, meters.registry) as admin_port,
            lifetime.side_task("keys", verifier.keys.keep_fresh()),
            lifetime.side_task("probes", health.watch()),
            serving(app, site_of(settings, _http_meters(meters), health.set_draining)) as port,
            _canary(settings, port, findings, lifetime),
        ):
            yield _addresses(settings, port, admin_port)


def _can_fly(settings: DevSettings) -> bool:
    """Whether there is a token for the canary: keys of somebody else sign none."""
    return settings.jwt_secret is not None or settings.canary_token is not None


def _canary(
    settings: DevSettings, port: int, findings: Findings, lifetime: Lifetime
) -> AbstractAsyncContextManager[None]:
    if not _can_fly(settings):
        return nullcontext()
    here = str(URL.build(scheme="http", host=_LOOPBACK.get(settings.host, settings.host), port=port))
    addresses = CanaryAddresses(settings.canary_post_url or here, settings.canary_get_url or here)
    return canary.flying(settings, addresses, findings, lifetime)


def _named(part: str, *probes: Probe) -> list[Probe]:
    return [probe._replace(name=f"{part} to {probe.name}") for probe in probes]


def _http_meters(meters: Meters) -> HttpMeters:
    return HttpMeters(
        meters.counter(HTTP_REQUESTS),
        meters.histogram(HTTP_REQUEST_DURATION),
        meters.gauge(HTTP_REQUESTS_RUNNING),
        meters.gauge(HTTP_CONNECTIONS),
        meters.counter(HTTP_CONNECTIONS_CLOSED),
    )


def _addresses(settings: DevSettings, port: int, admin_port: int) -> Addresses:
    secret = settings.jwt_secret
    claims: dict[str, object] = {"sub": "dev", "scope": f"{POST_SCOPE} {GET_SCOPE}"}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    return Addresses(
        url=settings.public_url or f"http://{settings.host}:{port}",
        admin_url=f"http://{settings.admin_host}:{admin_port}",
        bootstrap_servers=settings.kafka_bootstrap_servers,
        topic=settings.topic,
        log_file=settings.data_directory / "logs" / "quizstream.log",
        token=issue_token(secret.get_secret_value(), claims, TOKEN_TTL_SECONDS) if secret else "<a token of yours>",
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
