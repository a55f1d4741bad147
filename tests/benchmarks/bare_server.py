"""The least that aiohttp can do: read the body and answer 204. The gateway's cost is told as a multiple of this.

python -m tests.benchmarks.bare_server PORT
"""

import sys

import uvloop
from aiohttp import web

from quizstream.contracts.resources import ROUTE_PATTERN


async def _take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


def main() -> None:
    """Serve until the end."""
    app = web.Application()
    app.router.add_post(ROUTE_PATTERN, _take)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
