"""A gateway in this process, served over HTTP, on a real Kafka."""

import io
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from tests.topics import PARTITIONS

from quizstream.contracts.access import POST_SCOPE, grant_from_claims
from quizstream.contracts.errors import TokenRefused, keys_unavailable
from quizstream.contracts.metrics import GATEWAY_METRICS
from quizstream.gateway.app import Gateway, create_app, opened
from quizstream.gateway.settings import GatewaySettings
from quizstream.runtime.access import Refusals, issue_token, open_verifier
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.runtime.web import Site, serving

SECRET = "a secret of the tests, 32 bytes or more"


def token(**claims: object) -> str:
    """A token that may post, and whatever `claims` say."""
    return issue_token(SECRET, {"scope": POST_SCOPE, "sub": "student-1", **claims}, 600)


class Api:
    """A client of the API that posts as a script does."""

    def __init__(self, session: aiohttp.ClientSession, gateway: Gateway, meters: Meters) -> None:
        self.session = session
        self.gateway = gateway
        self._meters = meters

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric now."""
        return self._meters.registry.get_sample_value(name, labels) or 0.0

    async def post(
        self,
        body: object = None,
        *,
        data: bytes | None = None,
        path: str = "courses/1/quizzes/2/submissions/7/events",
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> "Answer":
        """Post `body` as JSON, or `data` as it is; without `token` one that may post, with None no header at all."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token or _default_token()}"
        content = io.BytesIO(json.dumps(body).encode() if data is None else data)
        began = time.monotonic()
        async with self.session.post(f"/api/v1/{path}", data=content, headers=sent) as response:
            return Answer(response.status, dict(response.headers), await response.read(), time.monotonic() - began)


def _default_token() -> str:
    return token()


class Answer:
    """What came back, and after how long."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, seconds: float) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.seconds = seconds


@asynccontextmanager
async def served(bootstrap_servers: str, topic: str, **settings: object) -> AsyncIterator[Api]:
    """Serve a gateway; at the end it must have run without a fault of its own."""
    given: dict[str, object] = {
        "kafka_bootstrap_servers": bootstrap_servers,
        "topic": topic,
        "partitions": PARTITIONS,
        "jwt_secret": SECRET,
        "allow_single_replica": True,
        **settings,
    }
    configured = GatewaySettings.model_validate(given)
    meters, lifetime = Meters(GATEWAY_METRICS), Lifetime()
    verifier = await open_verifier(configured, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    async with (
        opened(configured, verifier, meters, lifetime) as gateway,
        serving(create_app(gateway), Site("127.0.0.1", 0)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(60)) as session,
    ):
        yield Api(session, gateway, meters)
        assert not lifetime.failed
