"""`quizstream check` on real engines: what is wrong, in one line each."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from tests import databases
from tests.acceptance import system
from tests.accounts import account, url_for
from tests.integration.test_kafka import limit_messages
from tests.topics import PARTITIONS, make_topics

from quizstream.contracts.findings import Finding
from quizstream.contracts.timestamps import format_instant
from quizstream.gateway.check import check_keys
from quizstream.local import ports
from quizstream.runtime.settings import AccessSettings, KafkaSettings
from quizstream.runtime.telemetry import configure_logging
from quizstream.worker.check_store import check_store
from quizstream.worker.check_topics import check_topics
from quizstream.worker.months import month_of, partition_name
from quizstream.worker.rights import READER, WRITER

NOW = datetime.now(UTC)


def faults(findings: list[Finding]) -> str:
    return "\n".join(f"{found.fault}: {found.remedy}" for found in findings if not found.advice)


@pytest.fixture(autouse=True)
def _logs_as_in_production() -> None:
    configure_logging("info", "json")


@pytest.fixture
async def topics(kafka_bootstrap_servers: str, topic_name: str) -> KafkaSettings:
    await make_topics(kafka_bootstrap_servers, topic_name)
    return KafkaSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        topic=topic_name,
        partitions=PARTITIONS,
        allow_single_replica=True,
    )


async def test_topics_that_are_fit_give_nothing_to_say(topics: KafkaSettings) -> None:
    assert await check_topics(topics) == []


async def test_what_is_wrong_with_a_topic_comes_with_the_command_that_mends_it(topics: KafkaSettings) -> None:
    await limit_messages(topics.kafka_bootstrap_servers, topics.topic, 10_000)
    wanted = topics.model_copy(update={"allow_single_replica": False, "partitions": 2 * PARTITIONS})
    said = faults(await check_topics(wanted))
    for expected in (
        f"--entity-name {topics.topic} --add-config max.message.bytes=20971520",
        f"--entity-name {topics.topic} --add-config min.insync.replicas=2",
        f"kafka-topics.sh --alter --topic {topics.topic}.quarantine --partitions 6",
        "It has 1 of 3 replicas: kafka-reassign-partitions.sh, to 3 replicas",
    ):
        assert expected in said


async def test_missing_topics_and_brokers_are_told(topics: KafkaSettings) -> None:
    missing = await check_topics(topics.model_copy(update={"topic": "none"}))
    assert faults(missing).count("is missing: run `quizstream migrate`") == 2
    nowhere = {"kafka_bootstrap_servers": f"127.0.0.1:{ports.any_free()}"}
    assert "no broker answers" in faults(await check_topics(topics.model_copy(update=nowhere)))


async def test_a_gateway_whose_clock_differs_from_the_brokers_is_told(topics: KafkaSettings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topics.kafka_bootstrap_servers)
    await producer.start()
    example = Path(__file__).parents[2] / "schemas/examples/accepted/event-record/page-left.json"
    record = json.loads(example.read_text("utf-8"))
    for ahead, apart in ((timedelta(), False), (timedelta(minutes=2), True)):
        record["received_at"] = format_instant(datetime.now(UTC) + ahead)
        value = json.dumps(record, separators=(",", ":")).encode()
        await producer.send_and_wait(topics.topic, value, key=b"7", partition=0)
        assert ("s apart" in faults(await check_topics(topics))) is apart
    await producer.stop()


@pytest.fixture
async def session(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_accounts_with_the_rights_of_their_part_give_nothing_to_say(postgres_url: str, database_url: str) -> None:
    with account(postgres_url, WRITER) as writing, account(postgres_url, READER) as reading:
        assert await check_store("worker", url_for(database_url, writing)) == []
        assert await check_store("reader", url_for(database_url, reading)) == []


async def test_rights_that_are_lacking_are_told(postgres_url: str, database_url: str) -> None:
    with account(postgres_url, READER) as reading:
        url = url_for(database_url, reading)
        worker, retention = await asyncio.gather(check_store("worker", url), check_store("retention", url))
    assert "may not INSERT quiz_submission_events: make it a member of quizstream_writer" in faults(worker)
    assert "may not make months" in faults(worker)
    assert "QUIZSTREAM_RETENTION_DATABASE_URL" in faults(retention)
    assert faults(await check_store("retention", database_url)) == ""


async def test_a_store_that_is_not_migrated_or_short_of_months_is_told(
    postgres_url: str, database_url: str, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    with databases.created(postgres_url) as empty:
        assert "no tables: run `quizstream migrate`" in faults(
            await check_store("worker", databases.url_of(postgres_url, empty))
        )
    await session.execute(f"DROP TABLE {partition_name(month_of(NOW, 3))}")
    await session.execute("DELETE FROM schema_migrations WHERE name LIKE '0003%'")
    said = faults(await check_store("worker", database_url))
    assert "months are there for 2 ahead" in said
    assert "the store lacks 0003_months_by_function" in said


async def test_a_server_that_is_away_and_a_wrong_password_are_told(database_url: str) -> None:
    away = f"postgresql://127.0.0.1:{ports.any_free()}/quiz"
    assert "does not answer" in faults(await check_store("reader", away))
    assert "refuses the user" in faults(await check_store("reader", url_for(database_url, "nobody:wrong")))


async def test_keys_that_cannot_be_had_are_told(tmp_path: Path) -> None:
    assert await check_keys(AccessSettings(jwt_secret=SecretStr("x" * 32))) == []
    assert "must be set" in faults(await check_keys(AccessSettings()))
    away = AccessSettings(jwks_url=f"http://127.0.0.1:{ports.any_free()}/keys")
    assert "cannot be read" in faults(await check_keys(away))
    (tmp_path / "keys.json").write_text('{"keys": []}')
    assert faults(await check_keys(AccessSettings(jwks_file=str(tmp_path / "keys.json"))))


async def test_the_command_says_so_and_gives_its_status(topics: KafkaSettings, database_url: str) -> None:
    environment = {
        "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": topics.kafka_bootstrap_servers,
        "QUIZSTREAM_DATABASE_URL": database_url,
        "QUIZSTREAM_TOPIC": topics.topic,
        "QUIZSTREAM_PARTITIONS": str(PARTITIONS),
        "QUIZSTREAM_JWT_SECRET": system.SECRET,
    }
    single = {**environment, "QUIZSTREAM_ALLOW_SINGLE_REPLICA": "true"}
    assert "fit: gateway, worker, reader\n" in await system.run("check", environment=single)
    told = json.loads(await system.run("check", "gateway", "--json", environment=environment, status=1))
    assert told["checked"] == ["gateway"]
    assert {finding["part"] for finding in told["findings"]} == {
        f"topic {topics.topic}",
        f"topic {topics.topic}.quarantine",
    }
    said = await system.run("check", "reader", environment={**single, "QUIZSTREAM_JWT_SECRET": "short"}, status=2)
    assert said.startswith("quizstream: QUIZSTREAM_JWT_SECRET")
