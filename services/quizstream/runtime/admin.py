"""The admin port: is the process alive, can it deliver, what has it done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from quizstream.runtime.health import Health, Readiness
from quizstream.runtime.web import Site, serving

_NO_STORE: Final = {hdrs.CACHE_CONTROL: "no-store"}


def create_admin_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """Make the application of `/healthz` (200 while alive), `/readyz` (200 or 503) and `/metrics` (Prometheus)."""

    async def healthz(_: web.Request) -> web.Response:
        return _json(200, {"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        readiness = health.readiness()
        return _json(200 if readiness.ready else 503, _shown(readiness))

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type, **_NO_STORE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


def _shown(readiness: Readiness) -> dict[str, object]:
    shown: dict[str, object] = {"ready": readiness.ready, "failing": readiness.failing}
    return {**shown, "draining": True} if readiness.draining else shown


def _json(status: int, body: dict[str, object]) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **_NO_STORE}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)


@asynccontextmanager
async def serving_admin(host: str, port: int, health: Health, registry: CollectorRegistry) -> AsyncIterator[int]:
    """Serve the admin port while the body runs, up to its last moment; gives the bound port."""
    site = Site(host, port, finish_seconds=1.0, max_connections=100)
    async with serving(create_admin_app(health, registry), site) as bound:
        yield bound
