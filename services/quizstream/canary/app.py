"""The canary, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from quizstream.canary.api import Addresses, open_api
from quizstream.canary.findings import Findings
from quizstream.canary.flight import Api, fly, new_canary
from quizstream.canary.settings import CanarySettings
from quizstream.contracts.access import CANARY_SCOPE
from quizstream.contracts.canaries import canary_resources
from quizstream.contracts.metrics import BUILD_INFO, CANARY_METRICS, HOP_UP, PROCESS_METRICS
from quizstream.contracts.resources import Resource
from quizstream.runtime.access import issue_token
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.health import Health
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.settings import SettingsError
from quizstream.runtime.telemetry import Meters

TOKEN_TTL_SECONDS: Final = 300.0
ACTOR: Final = "canary"
# While something fails, the next canary comes sooner, so that the end of it is seen soon.
PAUSE_IN_TROUBLE_SECONDS: Final = 1.0


@asynccontextmanager
async def running(settings: CanarySettings, lifetime: Lifetime) -> AsyncIterator[None]:
    """Run the canary's process: the flights and the admin port.

    Raises:
        StartRefused: there is no address, or nothing to sign tokens with.

    """
    meters = Meters((*PROCESS_METRICS, *CANARY_METRICS))
    meters.gauge(BUILD_INFO).labels(version("quizstream"), "canary").set(1)
    findings = Findings(meters)
    health = Health(findings.probes())
    health.publish(meters.gauge(HOP_UP))
    async with (
        serving_admin(settings.admin_host, settings.admin_port, health, meters.registry),
        lifetime.side_task("probes", health.watch()),
        flying(settings, addresses_of(settings), findings, lifetime),
    ):
        yield
        health.set_draining()


@asynccontextmanager
async def flying(
    settings: CanarySettings, addresses: Addresses, findings: Findings, lifetime: Lifetime
) -> AsyncIterator[None]:
    """Send one canary after the other while the body runs.

    Raises:
        SettingsError: there is nothing to sign tokens with.

    """
    async with (
        open_api(addresses, token_source(settings)) as api,
        lifetime.side_task("canary", _keep_flying(settings, api, findings)),
    ):
        yield


def addresses_of(settings: CanarySettings) -> Addresses:
    """Give the addresses that the settings name.

    Raises:
        SettingsError: they name none.

    """
    post_url = settings.canary_post_url or settings.public_url
    get_url = settings.canary_get_url or settings.public_url
    if post_url is None or get_url is None:
        raise SettingsError("QUIZSTREAM_PUBLIC_URL, or QUIZSTREAM_CANARY_POST_URL and ..GET_URL, must be set")
    return Addresses(post_url, get_url)


def token_source(settings: CanarySettings) -> Callable[[], str]:
    """Give what gives the token of a request: the one of the settings, or a new one of our own.

    Raises:
        SettingsError: there is neither a token nor a secret.

    """
    if settings.canary_token is not None:
        return settings.canary_token.get_secret_value
    if settings.jwt_secret is None:
        raise SettingsError("QUIZSTREAM_CANARY_TOKEN or QUIZSTREAM_JWT_SECRET must be set")
    secret = settings.jwt_secret.get_secret_value()
    named = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    claims = {"sub": ACTOR, "scope": CANARY_SCOPE, **{name: value for name, value in named.items() if value}}
    return lambda: issue_token(secret, claims, TOKEN_TTL_SECONDS)


async def _keep_flying(settings: CanarySettings, api: Api, findings: Findings) -> None:
    resources = canary_resources(settings.partitions)
    clock = asyncio.get_running_loop().time
    for partition in turns(resources, findings.to_be_retried):
        began = clock()
        canary = new_canary(resources[partition])
        findings.note(partition, await fly(api, canary, patience_seconds=settings.canary_patience_seconds))
        in_trouble = findings.to_be_retried() is not None
        pace = min(PAUSE_IN_TROUBLE_SECONDS, settings.canary_interval_seconds)
        next_at = began + (pace if in_trouble else settings.canary_interval_seconds)
        await asyncio.sleep(max(0.0, next_at - clock()))


def turns(resources: Sequence[Resource], to_be_retried: Callable[[], int | None]) -> Iterator[int]:
    """Give partitions in turn, for ever; while some fail, every second time one of these."""
    while True:
        for partition in range(len(resources)):
            yield partition
            if (dead := to_be_retried()) is not None:
                yield dead
