"""The links break connections as they say."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.faults.links import Link

from quizstream.local.ports import LOOPBACK

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.read(100):
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, LOOPBACK, 0)
    async with server, Link(server.sockets[0].getsockname()[1]).opened() as opened:
        yield opened


async def asked(streams: Streams) -> bytes:
    reader, writer = streams
    writer.write(b"?\n")
    return await asyncio.wait_for(reader.readline(), 0.3)


async def connected(link: Link) -> Streams:
    return await asyncio.open_connection(LOOPBACK, link.port)


async def test_a_sound_link_passes_everything_on(link: Link) -> None:
    streams = await connected(link)
    assert await asked(streams) == b"?\n"
    streams[1].close()


async def test_a_reset_breaks_what_is_open_and_nothing_else(link: Link) -> None:
    broken = await connected(link)
    await asked(broken)
    link.reset()
    with pytest.raises(ConnectionResetError):
        await broken[0].read()
    streams = await connected(link)
    assert await asked(streams) == b"?\n"
    for _, writer in (streams, broken):
        writer.close()


async def test_a_cut_link_refuses_until_it_is_healed(link: Link) -> None:
    link.cut()
    refused = await connected(link)
    with pytest.raises(ConnectionResetError):
        await refused[0].read()
    link.heal()
    streams = await connected(link)
    assert await asked(streams) == b"?\n"
    for _, writer in (streams, refused):
        writer.close()


async def test_a_half_open_link_is_silent_and_its_connections_are_dead_afterwards(link: Link) -> None:
    streams = await connected(link)
    await asked(streams)
    link.half_open()
    with pytest.raises(TimeoutError):
        await asked(streams)
    link.heal()
    with pytest.raises(ConnectionResetError):
        await streams[0].read()
    streams[1].close()


async def test_answers_are_lost_and_not_questions_until_the_link_is_healed() -> None:
    asked_for: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            asked_for.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(listen, LOOPBACK, 0)
    async with server, Link(server.sockets[0].getsockname()[1]).opened() as link:
        link.lose_answers()
        streams = await connected(link)  # it comes after the fault has begun
        with pytest.raises(TimeoutError):
            await asked(streams)
        assert asked_for == [b"?\n"]
        link.heal()
        with pytest.raises(ConnectionResetError):
            await streams[0].read()
        again = await connected(link)
        assert await asked(again) == b"?\n"
        for _, writer in (streams, again):
            writer.close()


async def test_a_throttled_link_is_slow(link: Link) -> None:
    streams = await connected(link)
    link.bytes_per_second = 4
    with pytest.raises(TimeoutError):
        await asked(streams)
    streams[1].close()
