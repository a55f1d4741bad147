"""Noticing a consumer that gets nothing although the log has more."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError

from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.runtime.postgres import UNREACHABLE
from quizstream.worker.backlog import stored_offsets
from quizstream.worker.batch import TopicPartition
from quizstream.worker.onlooker import onlooker

# A log may end in what no consumer is given (marks of a foreign transaction): then replacing it does not help.
LONGEST_PATIENCE_SECONDS: Final = 3600.0


class Watch:
    """Tells when to replace the consumer; each time without effect it waits twice as long for the next."""

    def __init__(self, patience_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = patience_seconds
        self._patience = patience_seconds
        self._clock = clock

    async def until_stuck(self, deliveries: Callable[[], int], behind: Callable[[], Awaitable[bool]]) -> None:
        """Return when the store has been behind the log for as long as the patience lasts, without a delivery.

        `deliveries` is a number that changes with each.
        """
        seen, since = deliveries(), None
        while True:
            await asyncio.sleep(self._patience / 4)
            if deliveries() != seen:
                seen, since, self._patience = deliveries(), None, self._first
            elif not await behind() or deliveries() != seen:
                since = None
            elif since is None:
                since = self._clock()
            elif self._clock() - since >= self._patience:
                self._patience = min(2 * self._patience, LONGEST_PATIENCE_SECONDS)
                return


async def is_behind(database_url: str, access: KafkaAccess, partitions: Collection[TopicPartition]) -> bool:
    """Tell whether the log of one of these partitions goes on behind what is stored of it.

    Asked on connections of their own, as those of the worker may be what is stuck. False where Kafka or the store does
    not answer: then waiting is right, and another consumer would do no better.
    """
    if not partitions:
        return False
    try:
        async with onlooker(access) as looking:
            bounds = await looking.bounds(partitions)
        stored = await stored_offsets(database_url, partitions, application_name="quizstream-watch")
    except (KafkaError, TimeoutError, asyncpg.PostgresError, *UNREACHABLE):
        return False
    return any(stored.get(partition, 0) < end for partition, (_, end) in bounds.items())
