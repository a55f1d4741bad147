"""Waiting for a condition with a deadline, never for a fixed time."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_POLL_SECONDS = 0.02

Found = TypeVar("Found")


def scaled(seconds: float) -> float:
    """A deadline for this machine: QUIZSTREAM_TEST_TIME_SCALE=3 triples all of them."""
    return seconds * float(os.environ.get("QUIZSTREAM_TEST_TIME_SCALE", "1"))


async def eventually(check: Callable[[], Awaitable[Found]], seconds: float = 10.0) -> Found:
    """Give the first true answer of `check`; an AssertionError in it means "not yet".

    At the deadline raises the last AssertionError, or one that tells the last answer.
    """
    deadline = time.monotonic() + scaled(seconds)
    while True:
        try:
            found = await check()
            failure = AssertionError(f"not so after {scaled(seconds):g} s; last answer: {found!r}")
        except AssertionError as error:
            failure = error
        else:
            if found:
                return found
        if time.monotonic() > deadline:
            raise failure
        await asyncio.sleep(_POLL_SECONDS)
