"""The generator asks as planned, counts what comes, and hides no wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.benchmarks.generator import Load
from tests.benchmarks.orders import Order, Report
from tests.benchmarks.payload import Template, gets, posts

from quizstream.contracts.resources import ROUTE_PATTERN
from quizstream.gateway.content_type import parse_content_type
from quizstream.gateway.parse import parse


@dataclass
class Server:
    """Answers with what it is told, and keeps what it was sent."""

    status: int = 204
    pause_seconds: float = 0.0
    chunks: int = 0
    bodies: list[bytes] = field(default_factory=list)
    submissions: set[str] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.submissions.add(request.match_info["id"])
        await asyncio.sleep(self.pause_seconds)
        if not self.chunks:
            return web.Response(status=self.status)
        answer = web.StreamResponse(status=self.status)
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for _ in range(self.chunks):
            await answer.write(b"[%b]" % (b"1" * 10_000))
        return answer


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", ROUTE_PATTERN, server.handle)
    async with TestServer(app) as running:
        assert running.port
        yield running.port


def loaded(order: Order) -> Report:
    with closing(Load(order)) as generator:
        return generator.run()


async def load(server: Server, template: Template, **told: float) -> Report:
    async with served(server) as port:
        order = Order(
            ports=[port],
            heads=template.heads,
            body=template.body,
            connections=int(told.pop("connections", 4)),
            seconds=told.pop("seconds", 0.3),
            warm_up_seconds=0.05,
            expected_status=int(told.pop("expected_status", 204)),
            rate=told.pop("rate", None),
        )
        assert not told
        return await asyncio.to_thread(loaded, order)


async def test_every_request_is_valid_and_every_answer_is_counted() -> None:
    server = Server()
    report = await load(server, posts(5, range(1, 41)))
    assert report.acknowledged == len(server.bodies)
    assert 0 < report.answered < report.acknowledged
    assert (report.unexpected, report.unanswered) == ({}, 0)
    content_type = parse_content_type("application/json")
    assert all(len(parse(body, content_type).events) == 5 for body in server.bodies)


async def test_every_submission_was_there_before_the_measurement() -> None:
    server = Server()
    await load(server, posts(1, range(1, 401)), seconds=0.01)
    assert server.submissions == {str(number) for number in range(1, 401)}


async def test_other_answers_are_told() -> None:
    server = Server(status=503)
    report = await load(server, posts(1, [1, 2, 3, 4]))
    assert report.acknowledged == 0
    assert report.unexpected == {"503": len(server.bodies)}


async def test_long_answers_in_chunks_are_read_to_their_end() -> None:
    report = await load(Server(status=200, chunks=50), gets([1, 2, 3, 4]), expected_status=200)
    assert report.answered > 0
    assert report.answer_bytes > report.answered * 500_000 * 0.9


async def test_at_a_fixed_rate_as_many_are_sent_as_planned() -> None:
    report = await load(Server(), posts(1, [1, 2, 3, 4]), rate=100.0, seconds=0.5)
    assert 45 <= report.answered <= 50
    assert report.late_seconds["p50"] < 0.05


async def test_waiting_for_a_slow_server_counts_as_latency() -> None:
    """One connection and 50 ms an answer: 20 requests a second of the 100 that are planned."""
    report = await load(Server(pause_seconds=0.05), posts(1, [1]), rate=100.0, seconds=0.4, connections=1)
    assert report.unanswered == 0
    assert report.latency_seconds["max"] > 1.0  # the 40th is answered 2 s after the begin, 1.6 s after its turn
    assert report.latency_seconds["p50"] > 0.5


async def test_connections_are_spread_over_several_servers() -> None:
    servers = Server(), Server()
    async with served(servers[0]) as one, served(servers[1]) as other:
        template = posts(1, [1, 2, 3, 4])
        order = Order(
            ports=[one, other], heads=template.heads, body=template.body, connections=4, seconds=0.1, warm_up_seconds=0
        )
        await asyncio.to_thread(loaded, order)
    assert all(server.bodies for server in servers)
