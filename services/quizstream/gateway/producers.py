"""The producer in use, and its replacement when it is broken or stuck."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from quizstream.runtime.kafka import KafkaUnreachable, Producer

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
# One that lived longer did its work; its end is no sign that the next will fail as well.
STEADY_SECONDS: Final = 5.0

Connect = Callable[[], AbstractAsyncContextManager[Producer]]

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Producers:
    """Gives the producer in use.

    One that is replaced may still finish what it was given, while the next takes what is new: a partition that breaks
    does not hold up the others.
    """

    def __init__(self, connect: Connect, on_replaced: Callable[[str], None] = lambda _reason: None) -> None:
        self._connect = connect
        self._on_replaced = on_replaced
        self._current: asyncio.Future[Producer] = asyncio.get_running_loop().create_future()
        self._retired = asyncio.Event()
        self._unreachable = False

    @property
    def available(self) -> bool:
        """Whether a producer is in use."""
        return self._current.done()

    async def current(self) -> Producer:
        """Give the producer in use; in an outage this waits until there is one."""
        if self._current.done():
            return self._current.result()
        return await asyncio.shield(self._current)

    def replace(self, producer: Producer, reason: str) -> None:
        """Take `producer` out of use, unless that has been done."""
        if self._current.done() and self._current.result() is producer:
            self._current = asyncio.get_running_loop().create_future()
            self._retired.set()
            self._on_replaced(reason)
            _log.warning("producer_replaced", reason=reason)

    async def keep(self) -> None:
        """Provide a producer, and another after each one that is replaced, until cancelled."""
        clock = asyncio.get_running_loop().time
        pause_seconds = FIRST_PAUSE_SECONDS
        async with asyncio.TaskGroup() as lives:
            while True:
                began = clock()
                self._retired = retired = asyncio.Event()
                lives.create_task(self._live(self._current, retired))
                await retired.wait()
                steady = clock() - began > STEADY_SECONDS
                pause_seconds = FIRST_PAUSE_SECONDS if steady else min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause_seconds)

    async def _live(self, offered: asyncio.Future[Producer], retired: asyncio.Event) -> None:
        try:
            async with self._connect() as producer:
                offered.set_result(producer)
                self._unreachable = False
                _log.info("producer_ready")
                await retired.wait()
        except KafkaUnreachable as unreachable:
            if not self._unreachable:  # once an outage, not once an attempt
                _log.warning("kafka_unreachable", reason=unreachable.reason)
            self._unreachable = True
            retired.set()
