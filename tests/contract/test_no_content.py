"""The 204 that is sent in one step differs in nothing from the one that aiohttp prepares."""

import asyncio

from aiohttp import web
from tests.raw_http import Answer, read_answer

from quizstream.runtime.no_content import NoContent
from quizstream.runtime.web import Site, serving

ORIGIN = "https://canvas.example.edu"
VARYING = {"date", "x-request-id"}


async def ours(_request: web.Request) -> web.StreamResponse:
    answer = NoContent()
    answer.headers["Quiz-Events-Quarantined"] = "1"
    return answer


async def theirs(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=204, headers={"Quiz-Events-Quarantined": "1"})


def application() -> web.Application:
    app = web.Application()
    app.router.add_post("/ours", ours)
    app.router.add_post("/theirs", theirs)
    return app


async def exchange(port: int, path: str, version: str, *headers: str) -> tuple[list[Answer], bool]:
    """Send two requests over one connection; gives the answers and whether the server closed it after the first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers: list[Answer] = []
    try:
        for _ in range(2):
            lines = [f"POST {path} HTTP/{version}", "Host: quiz.example.edu", f"Origin: {ORIGIN}", *headers]
            writer.write("\r\n".join([*lines, "Content-Length: 2", "", "{}"]).encode())
            answers.append(await read_answer(reader))
    except (asyncio.IncompleteReadError, ConnectionError):
        return answers, True
    finally:
        writer.transport.abort()
    return answers, False


async def test_over_every_kind_of_connection_it_is_the_answer_of_aiohttp() -> None:
    kinds = [("1.1",), ("1.1", "Connection: close"), ("1.0",), ("1.0", "Connection: keep-alive")]
    async with serving(application(), Site("127.0.0.1", 0, [ORIGIN])) as port:
        for kind in kinds:
            (mine, mine_closed), (other, other_closed) = [
                await exchange(port, path, *kind) for path in ("/ours", "/theirs")
            ]
            assert mine_closed == other_closed
            assert len(mine) == len(other)
            for answer, expected in zip(mine, other, strict=True):
                assert answer.status == 204
                assert answer.headers.keys() == expected.headers.keys()
                assert all(answer.headers[name] == expected.headers[name] for name in answer.headers.keys() - VARYING)
                assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert len({answer.headers["x-request-id"] for answer in mine}) == len(mine)


async def test_while_the_site_drains_it_closes_the_connection() -> None:
    draining = asyncio.Event()
    site = Site("127.0.0.1", 0, on_drain=draining.set, drain_seconds=1.0)
    left = asyncio.Event()

    async def serve(port: "asyncio.Future[int]") -> None:
        async with serving(application(), site) as bound:
            port.set_result(bound)
            await left.wait()

    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(port))
        bound = await port
        left.set()
        await draining.wait()
        answers, closed = await exchange(bound, "/ours", "1.1")
    assert closed
    assert [answer.headers["connection"] for answer in answers] == ["close"]
