from pathlib import Path

from quizstream.local.kafka import Node, new_cluster_id, server_properties

NODES = [Node(1, 9092, 9093), Node(2, 9094, 9095), Node(3, 9096, 9097)]


def settings_of(node: Node, quorum: list[Node]) -> dict[str, str]:
    lines = server_properties(node, quorum, Path("/data/log")).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_every_listener_is_on_the_loopback_address() -> None:
    settings = settings_of(NODES[0], NODES[:1])

    assert settings["listeners"] == "CLIENTS://127.0.0.1:9092,CONTROLLERS://127.0.0.1:9093"


def test_three_brokers_keep_three_copies_and_acknowledge_two() -> None:
    settings = settings_of(NODES[1], NODES)

    assert settings["node.id"] == "2"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:9093,2@127.0.0.1:9095,3@127.0.0.1:9097"
    assert (settings["default.replication.factor"], settings["min.insync.replicas"]) == ("3", "2")


def test_one_broker_keeps_one_copy() -> None:
    settings = settings_of(NODES[0], NODES[:1])

    assert (settings["offsets.topic.replication.factor"], settings["min.insync.replicas"]) == ("1", "1")


def test_a_cluster_id_never_looks_like_an_option() -> None:
    identifiers = [new_cluster_id() for _ in range(500)]

    assert {len(identifier) for identifier in identifiers} == {22}
    assert not [identifier for identifier in identifiers if identifier.startswith("-")]
