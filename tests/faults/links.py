"""A TCP connection between two processes that can be made slow, silent or dead."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from quizstream.local.ports import LOOPBACK

_CHUNK_BYTES = 64 * 1024


@dataclass
class Link:
    """A proxy to `target_port`; everything that passes `port` of it obeys the fault of the moment."""

    target_port: int
    port: int = 0
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None
    _refusing: bool = False
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _answering: asyncio.Event = field(default_factory=asyncio.Event)
    _silent: set[asyncio.StreamWriter] = field(default_factory=set)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _pipes: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def is_dead(self) -> bool:
        """Whether nothing passes at all."""
        return self._refusing or not self._flowing.is_set()

    def cut(self) -> None:
        """Reset what is open and refuse what comes, until `heal`."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset what is open; the next connection works."""
        for writer in list(self._open):
            _reset(writer)

    def half_open(self) -> None:
        """Let no byte through and tell nobody, as when the other machine has lost its power, until `heal`."""
        self._flowing.clear()
        self._silent = set(self._open)

    def lose_answers(self) -> None:
        """Let what is asked through and no answer to it, until `heal`."""
        self._answering.clear()
        self._silent = set(self._open)

    def heal(self) -> None:
        """End every fault. Connections that were half open are reset: the other side does not know them any more."""
        self._refusing = False
        self.delay_seconds, self.bytes_per_second = 0.0, None
        if not self._answering.is_set():
            self._silent = set(self._open)  # those that came meanwhile have lost answers, too
        for writer in list(self._silent & self._open):
            _reset(writer)
        self._silent = set()
        self._flowing.set()
        self._answering.set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Link"]:
        """Listen while the body runs."""
        self._flowing.set()
        self._answering.set()
        server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.reset()
            for pipe in self._pipes:
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset(writer)
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(LOOPBACK, self.target_port)
        except OSError:
            _reset(writer)
            return
        ends = {writer, there_writer}
        self._open |= ends
        both = [
            asyncio.create_task(self._pipe(source, sink, passing))
            for source, sink, passing in (
                (reader, there_writer, self._flowing),
                (there_reader, writer, self._answering),
            )
        ]
        self._pipes |= set(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in both:
                pipe.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._pipes -= set(both)
            self._open -= ends
            for end in ends:
                end.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await passing.wait()
                await self._hold_back(len(chunk))
                writer.write(chunk)
                await writer.drain()

    async def _hold_back(self, size_bytes: int) -> None:
        await self._flowing.wait()
        pause_seconds = self.delay_seconds + (size_bytes / self.bytes_per_second if self.bytes_per_second else 0.0)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of the orderly end."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
