"""Long work on the event loop, a slice at a time."""

import asyncio

from quizstream.gateway.submission import Result, Sliced


async def take_turns(work: Sliced[Result]) -> Result:
    """Drive sliced work to its end; between slices everything else that is ready runs once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result
        await asyncio.sleep(0)
