"""Somebody who issues tokens and publishes the key to verify them with."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from jwt.algorithms import ECAlgorithm
from tests.acceptance import signed
from tests.faults.links import Link

from quizstream.contracts.access import POST_SCOPE
from quizstream.local.ports import LOOPBACK

_KEY_ID = "of-the-issuer"


@dataclass(frozen=True)
class Issuer:
    """The link stands before the address of the keys."""

    link: Link

    @property
    def url(self) -> str:
        """The address of the keys."""
        return f"http://{self.link.address}/keys"

    def token(self) -> str:
        """A token that may post."""
        return signed.signed(signed.EC, "ES256", {"kid": _KEY_ID}, scope=POST_SCOPE)


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """Publish the key while the body runs."""
    key: dict[str, object] = json.loads(ECAlgorithm.to_jwk(signed.EC.public_key()))
    key_set = {"keys": [{**key, "kid": _KEY_ID, "use": "sig", "alg": "ES256"}]}

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(key_set)

    app = web.Application()
    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        async with Link(int(runner.addresses[0][1])).opened() as link:
            yield Issuer(link)
    finally:
        await runner.cleanup()
