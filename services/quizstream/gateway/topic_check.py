"""Whether the topics keep what a 204 promises; checked before the first request is taken."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from quizstream.contracts.topics import quarantine_topic, weaknesses
from quizstream.gateway.settings import GatewaySettings
from quizstream.runtime.kafka import KafkaRefused, KafkaUnreachable, TopicShape, describe_topic
from quizstream.runtime.kafka_access import KafkaAccess
from quizstream.runtime.lifecycle import StartRefused

RETRY_SECONDS: Final = 1.0

Describe = Callable[[str], Awaitable[TopicShape | None]]

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class TopicUnfit(StartRefused):
    """A topic is missing or too weak, or Kafka cannot be asked."""


async def check_topics(settings: GatewaySettings, access: KafkaAccess) -> None:
    """Return when both topics are fit.

    More partitions than configured are fit: submissions are spread over the configured number, whoever publishes.

    Raises:
        TopicUnfit: one is not, Kafka did not answer for `kafka_patience_seconds`, or it will not have us.

    """
    describe = partial(describe_topic, access)
    try:
        async with asyncio.timeout(settings.kafka_patience_seconds):
            for name in (settings.topic, quarantine_topic(settings.topic)):
                refuse_weak(name, await _patiently(describe, name), settings)
    except TimeoutError:
        raise TopicUnfit("No broker of QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS answers.") from None


async def _patiently(describe: Describe, name: str) -> TopicShape | None:
    while True:
        try:
            return await describe(name)
        except KafkaRefused as refused:
            raise TopicUnfit(f"Kafka: {refused.reason}") from refused
        except KafkaUnreachable as unreachable:
            _log.warning("kafka_unreachable", reason=unreachable.reason)
        await asyncio.sleep(RETRY_SECONDS)


def refuse_weak(name: str, topic: TopicShape | None, settings: GatewaySettings) -> None:
    """Refuse a topic that is missing or breaks a promise.

    Raises:
        TopicUnfit: one line that says all of why.

    """
    if topic is None:
        raise TopicUnfit(f"Topic {name} is missing: run `quizstream migrate`.")
    allow_single_replica = settings.allow_single_replica
    if found := weaknesses(topic, settings.partitions, allow_single_replica=allow_single_replica):
        raise TopicUnfit(f"Topic {name} is not safe to publish to. {' '.join(found)}")
    if topic.partitions > settings.partitions:
        _log.info("partitions_unused", topic=name, partitions=topic.partitions, used=settings.partitions)
