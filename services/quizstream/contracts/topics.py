"""The two topics and the settings without which our promises to clients and consumers do not hold."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

QUARANTINE_SUFFIX: Final = ".quarantine"

REPLICATION_FACTOR: Final = 3
MIN_IN_SYNC_REPLICAS: Final = 2
# A body of 16 MiB may be one event. Its record adds headers and members before `event_data`, under 6 KiB: an event
# type of 255 characters escaped (1,530 bytes), an actor, a client timestamp. The rest is room for what clients add.
MAX_MESSAGE_BYTES: Final = 20 * 2**20
# At least the age of the oldest backup of the store that one would restore: the topic fills the gap.
RETENTION_MS: Final = 14 * 24 * 60 * 60 * 1000
UNLIMITED: Final = -1


class DescribedTopic(Protocol):
    """A topic as the cluster describes it, settings as the texts that Kafka uses."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def partitions(self) -> int:
        """How many partitions it has."""

    @property
    def replication_factor(self) -> int:
        """How many replicas each partition has at least."""

    @property
    def configs(self) -> Mapping[str, str]:
        """Its settings in force."""


class PlannedTopic(NamedTuple):
    """A topic as it must be made."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


def quarantine_topic(topic: str) -> str:
    """Give the name of the topic for elements that cannot be stored."""
    return topic + QUARANTINE_SUFFIX


def planned_topics(topic: str, partitions: int, *, allow_single_replica: bool = False) -> tuple[PlannedTopic, ...]:
    """Give both topics as a new installation needs them.

    With `allow_single_replica` they outlive crashes of processes, but not the loss of the broker's disk.
    """
    replicas, in_sync = (1, 1) if allow_single_replica else (REPLICATION_FACTOR, MIN_IN_SYNC_REPLICAS)
    configs = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(in_sync),
        "retention.bytes": str(UNLIMITED),
        "retention.ms": str(RETENTION_MS),
        "unclean.leader.election.enable": "false",
    }
    return tuple(PlannedTopic(name, partitions, replicas, configs) for name in (topic, quarantine_topic(topic)))


def weaknesses(topic: DescribedTopic, partitions: int, *, allow_single_replica: bool = False) -> list[str]:
    """Say in one sentence each what about a topic breaks a promise; empty where nothing does.

    More partitions, replicas, room and retention than needed are no weakness. `allow_single_replica` gives up what
    replication gives and nothing else.
    """
    found = [*_misfits(topic, partitions)]
    if not allow_single_replica:
        found += _fragilities(topic)
    return found


def _misfits(topic: DescribedTopic, partitions: int) -> Iterator[str]:
    if topic.partitions < partitions:
        yield f"It has {topic.partitions} partitions, and submissions are spread over {partitions}."
    if _number(topic, "max.message.bytes", UNLIMITED) < MAX_MESSAGE_BYTES:
        yield f"Its max.message.bytes must be at least {MAX_MESSAGE_BYTES}, or an accepted event could be refused."
    if topic.configs.get("message.timestamp.type") != "LogAppendTime":
        yield "Its message.timestamp.type must be LogAppendTime, or a clock could make Kafka delete records at once."
    if topic.configs.get("cleanup.policy") != "delete":
        yield "Its cleanup.policy must be delete, or all but the last event of a submission would be removed."
    retention = _number(topic, "retention.ms", 0)
    if retention != UNLIMITED and retention < RETENTION_MS:
        yield f"Its retention.ms must be at least {RETENTION_MS} (14 days), or a restored store has a gap."
    if _number(topic, "retention.bytes", UNLIMITED) != UNLIMITED:
        yield "Its retention.bytes must be -1, or records could be removed before they are stored."


def _fragilities(topic: DescribedTopic) -> Iterator[str]:
    if topic.replication_factor < REPLICATION_FACTOR:
        yield f"It has {topic.replication_factor} of {REPLICATION_FACTOR} replicas."
    if _number(topic, "min.insync.replicas", 1) < MIN_IN_SYNC_REPLICAS:
        yield f"Its min.insync.replicas must be at least {MIN_IN_SYNC_REPLICAS}, or one lost disk loses events."
    if topic.configs.get("unclean.leader.election.enable") != "false":
        yield "Its unclean.leader.election.enable must be false, or acknowledged events can be lost."


def _number(topic: DescribedTopic, setting: str, missing: int) -> int:
    """Give a setting; `missing` also where it is no number, which Kafka does not allow."""
    text = topic.configs.get(setting, "")
    return int(text) if text.removeprefix("-").isdecimal() else missing
