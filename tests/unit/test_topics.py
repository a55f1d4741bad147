"""Which topics are fit to be published to."""

import pytest

from quizstream.contracts.topics import PlannedTopic, planned_topics, quarantine_topic, weaknesses
from quizstream.gateway.settings import GatewaySettings
from quizstream.gateway.topic_check import TopicUnfit, refuse_weak
from quizstream.runtime.kafka import TopicShape

(EVENTS, QUARANTINE) = planned_topics("events", 12)
FRAGILE = [
    ("replicas", "2"),
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "true"),
]
UNFIT = [
    ("partitions", "11"),
    ("max.message.bytes", "16777216"),
    ("message.timestamp.type", "CreateTime"),
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "compact,delete"),
    ("retention.ms", "604800000"),
    ("retention.bytes", "1073741824"),
]
BETTER = [
    ("partitions", "24"),
    ("replicas", "5"),
    ("min.insync.replicas", "3"),
    ("retention.ms", "-1"),
    ("retention.ms", "2419200000"),
    ("max.message.bytes", "41943040"),
]


def changed(topic: PlannedTopic, setting: str, value: str) -> PlannedTopic:
    if setting == "partitions":
        return topic._replace(partitions=int(value))
    if setting == "replicas":
        return topic._replace(replication_factor=int(value))
    return topic._replace(configs={**topic.configs, setting: value})


def test_topics_are_made_as_they_must_be() -> None:
    assert [EVENTS.name, QUARANTINE.name] == ["events", quarantine_topic("events")]
    for topic in (EVENTS, QUARANTINE):
        assert weaknesses(topic, 12) == []


@pytest.mark.parametrize(("setting", "value"), FRAGILE + UNFIT)
def test_each_weakness_is_named_in_one_sentence(setting: str, value: str) -> None:
    (sentence,) = weaknesses(changed(EVENTS, setting, value), 12)
    assert setting in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(("setting", "value"), FRAGILE)
def test_one_replica_is_allowed_only_on_demand(setting: str, value: str) -> None:
    assert weaknesses(changed(EVENTS, setting, value), 12, allow_single_replica=True) == []


@pytest.mark.parametrize(("setting", "value"), UNFIT)
def test_what_replication_does_not_heal_is_never_allowed(setting: str, value: str) -> None:
    assert len(weaknesses(changed(EVENTS, setting, value), 12, allow_single_replica=True)) == 1


@pytest.mark.parametrize(("setting", "value"), BETTER)
def test_more_than_needed_is_no_weakness(setting: str, value: str) -> None:
    assert weaknesses(changed(EVENTS, setting, value), 12) == []


@pytest.mark.parametrize("setting", sorted(EVENTS.configs))
def test_a_setting_that_is_not_told_counts_as_weak(setting: str) -> None:
    configs = {name: value for name, value in EVENTS.configs.items() if name != setting}
    expected = 0 if setting == "retention.bytes" else 1  # Kafka's default is no limit
    assert len(weaknesses(EVENTS._replace(configs=configs), 12)) == expected


def test_topics_of_a_single_broker_pass_only_where_that_is_allowed() -> None:
    for topic in planned_topics("events", 12, allow_single_replica=True):
        assert weaknesses(topic, 12, allow_single_replica=True) == []
        assert len(weaknesses(topic, 12)) == 2


def test_a_missing_topic_stops_the_start_and_says_what_to_do() -> None:
    with pytest.raises(TopicUnfit, match="quizstream migrate") as refused:
        refuse_weak("events", None, GatewaySettings())
    assert "\n" not in str(refused.value)


def test_a_weak_topic_stops_the_start_with_one_line() -> None:
    weak = TopicShape("events", 3, 1, {**EVENTS.configs, "min.insync.replicas": "1"})
    with pytest.raises(TopicUnfit, match=r"3 partitions.*1 of 3 replicas.*min\.insync") as refused:
        refuse_weak("events", weak, GatewaySettings())
    assert "\n" not in str(refused.value)


def test_a_topic_with_more_partitions_is_used_as_far_as_configured() -> None:
    refuse_weak("events", TopicShape(*changed(EVENTS, "partitions", "24")), GatewaySettings())
