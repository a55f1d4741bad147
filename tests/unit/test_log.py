"""What the worker's loop relies on in its view of the log."""

import asyncio
from collections.abc import Mapping

from aiokafka.structs import TopicPartition as KafkaPartition

from quizstream.worker.batch import TopicPartition
from quizstream.worker.log import Log


class Committing:
    """A consumer whose broker answers a commit when it is told to."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.committed: Mapping[KafkaPartition, int] | None = None

    def assignment(self) -> frozenset[KafkaPartition]:
        return frozenset({KafkaPartition("events", 0)})

    async def commit(self, offsets: Mapping[KafkaPartition, int]) -> None:
        self.committed = offsets
        await self.answered


async def commit_and_go_on(consumer: Committing) -> None:
    """As the loop does, which ends by cancellation only."""
    await Log(consumer).commit({TopicPartition("events", 0): 5})
    await asyncio.Event().wait()


async def test_a_commit_that_is_answered_in_the_moment_of_the_end_does_not_keep_the_loop_alive() -> None:
    consumer = Committing()
    loop = asyncio.create_task(commit_and_go_on(consumer))
    await asyncio.sleep(0.01)
    consumer.answered.set_result(None)
    await asyncio.sleep(0)  # now the answer has arrived, and who waits for it has not gone on
    loop.cancel()
    await asyncio.wait((loop,), timeout=1)
    assert consumer.committed == {KafkaPartition("events", 0): 5}
    assert loop.cancelled()


async def test_a_commit_gives_what_the_group_took() -> None:
    consumer = Committing()
    consumer.answered.set_result(None)
    taken = await Log(consumer).commit({TopicPartition("events", 0): 5, TopicPartition("events", 1): 6})
    assert taken == {TopicPartition("events", 0): 5}
