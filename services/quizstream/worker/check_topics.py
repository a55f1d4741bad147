"""What of Kafka and the topics is wrong, for `quizstream check`."""

from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from aiokafka.errors import KafkaError

from quizstream.contracts.findings import Finding, clock_finding
from quizstream.contracts.records import UnreadableRecord, decode_event
from quizstream.contracts.topics import PlannedTopic, planned_topics, weaknesses
from quizstream.runtime.kafka import KafkaRefused, KafkaUnreachable, describe_topic
from quizstream.runtime.kafka_access import KafkaAccess, kafka_access
from quizstream.runtime.settings import KafkaSettings
from quizstream.worker.batch import TopicPartition
from quizstream.worker.decode import LogRecord
from quizstream.worker.onlooker import onlooker

PUBLISHED_WITHIN_SECONDS: Final = 5.0  # the promise: by then an answer is given


async def check_topics(settings: KafkaSettings) -> list[Finding]:
    """Compare both topics with what the promises need."""
    access = kafka_access(settings)
    planned = planned_topics(settings.topic, settings.partitions, allow_single_replica=settings.allow_single_replica)
    try:
        found = [finding for topic in planned for finding in await _check(access, topic, settings)]
    except KafkaRefused as refused:
        return [Finding("kafka", refused.reason, "see the settings QUIZSTREAM_KAFKA_..")]
    except KafkaUnreachable:
        return [Finding("kafka", "no broker answers", "see QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS, and whether Kafka runs")]
    return [*found, *await _check_clock(access, settings.topic), *_in_the_clear(settings)]


async def _check(access: KafkaAccess, planned: PlannedTopic, settings: KafkaSettings) -> list[Finding]:
    part = f"topic {planned.name}"
    topic = await describe_topic(access, planned.name)
    if topic is None:
        return [Finding(part, "is missing", "run `quizstream migrate`")]
    allow = settings.allow_single_replica
    return [
        Finding(part, sentence.rstrip("."), _remedy(sentence, planned))
        for sentence in weaknesses(topic, settings.partitions, allow_single_replica=allow)
    ]


async def _check_clock(access: KafkaAccess, topic: str) -> list[Finding]:
    """Compare the clocks of gateway and broker at the newest event: Kafka tells the time in records only."""
    described = await describe_topic(access, topic)
    try:
        newest = None if described is None else await _newest_record(access, topic, described.partitions)
        if newest is None or newest.value is None:
            return []
        event = decode_event(newest.value)
    except (KafkaError, TimeoutError, UnreadableRecord):
        return []
    if event.replayed:
        return []  # received long ago
    received = datetime.fromisoformat(event.received_at).timestamp()
    return clock_finding("kafka", newest.timestamp / 1000, received, received + PUBLISHED_WITHIN_SECONDS)


async def _newest_record(access: KafkaAccess, topic: str, partitions: int) -> LogRecord | None:
    async with onlooker(access) as looking:
        bounds = await looking.bounds([TopicPartition(topic, number) for number in range(partitions)])
        last = {partition: end - 1 for partition, (begin, end) in bounds.items() if end > begin}
        records = await looking.records_at(last) if last else {}
    return max(records.values(), key=lambda record: record.timestamp, default=None)


def _remedy(sentence: str, planned: PlannedTopic) -> str:
    """Give the command of Kafka's own that mends it."""
    for name, value in planned.configs.items():
        if name in sentence:
            change = f"--alter --entity-type topics --entity-name {planned.name} --add-config {name}={value}"
            return f"kafka-configs.sh {change}"
    if "partitions" in sentence:
        return f"kafka-topics.sh --alter --topic {planned.name} --partitions {planned.partitions}"
    return f"kafka-reassign-partitions.sh, to {planned.replication_factor} replicas"


def _in_the_clear(settings: KafkaSettings) -> Iterator[Finding]:
    hosts = (address.strip().rpartition(":")[0].strip("[]") for address in settings.kafka_bootstrap_servers.split(","))
    if settings.kafka_security_protocol in {"PLAINTEXT", "SASL_PLAINTEXT"} and not all(map(_is_here, hosts)):
        yield Finding("kafka", "events travel in the clear", "QUIZSTREAM_KAFKA_SECURITY_PROTOCOL=SASL_SSL", advice=True)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
