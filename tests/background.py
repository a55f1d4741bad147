"""Asynchronous things for synchronous fixtures, on an event loop of their own in a thread."""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import TypeVar

Value = TypeVar("Value")


def run(work: Coroutine[object, object, Value]) -> Value:
    """Give the result of `work`, and leave the event loop of the calling thread alone."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextmanager
def held_open(resource: AbstractAsyncContextManager[Value]) -> Iterator[Value]:
    """Enter `resource` and leave it at the end, both on one event loop that runs meanwhile."""
    opened: Future[tuple[Value, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    closed: Future[None] = Future()

    async def hold() -> None:
        enough = asyncio.Event()
        async with resource as value:
            opened.set_result((value, asyncio.get_running_loop(), enough))
            await enough.wait()

    def work() -> None:
        try:
            asyncio.run(hold())
            closed.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits
            (closed if opened.done() else opened).set_exception(error)

    thread = Thread(target=work, name="engines")
    thread.start()
    try:
        value, loop, enough = opened.result()
        try:
            yield value
        finally:
            loop.call_soon_threadsafe(enough.set)
            closed.result()
    finally:
        thread.join()
