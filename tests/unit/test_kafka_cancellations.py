"""Only who is told to end ends: aiokafka cancels whoever waits for a connection that it gives up."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from quizstream.runtime.kafka import ended_by_us_only


async def wait_for(answer: "asyncio.Future[None]") -> None:
    with ended_by_us_only():
        await answer


async def test_a_connection_that_is_given_up_is_a_failure() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_for(answer))
    await asyncio.sleep(0)
    answer.cancel()
    with pytest.raises(KafkaConnectionError):
        await waiting


async def test_a_task_that_is_told_to_end_ends() -> None:
    waiting = asyncio.create_task(wait_for(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_limit_of_time_stays_one() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_for(asyncio.get_running_loop().create_future())
