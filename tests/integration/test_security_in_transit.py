"""Kafka with TLS and SASL, and PostgreSQL with TLS, on real servers: what is taken, and what stops the start."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web
from tests import background, certificates
from tests.acceptance import system
from tests.certificates import Certificates
from tests.secure_engines import PASSWORD, USER, SecureKafka, secure_kafka, secure_postgres, unsigned_token
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE
from quizstream.runtime import postgres
from quizstream.runtime.kafka import KafkaRefused, TopicShape, describe_topic, ensure_topics, producer
from quizstream.runtime.kafka_access import KafkaAccess, kafka_access
from quizstream.runtime.settings import KafkaSettings
from quizstream.worker.batch import TopicPartition
from quizstream.worker.onlooker import onlooker

SECRET_ENVIRONMENT = "QUIZSTREAM_KAFKA_SASL_PASSWORD"
ONE_PARTITION = {"min.insync.replicas": "1"}


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(issued: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with background.held_open(secure_kafka(tmp_path_factory.mktemp("secure-kafka"), issued)) as started:
        yield started


@pytest.fixture(scope="module")
def server(issued: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL that takes TLS only, without parameters."""
    with background.held_open(secure_postgres(tmp_path_factory.mktemp("secure-postgres"), issued)) as url:
        yield url


def scram(broker: SecureKafka, issued: Certificates, **changed: object) -> KafkaAccess:
    """SCRAM over TLS, as an operator sets it."""
    given: dict[str, object] = {
        "kafka_bootstrap_servers": broker.sasl,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_ssl_ca_file": str(issued.authority),
        "kafka_sasl_mechanism": "SCRAM-SHA-512",
        "kafka_sasl_username": USER,
        "kafka_sasl_password": PASSWORD,
        **changed,
    }
    return kafka_access(KafkaSettings.model_validate(given))


def oauth(broker: SecureKafka, issued: Certificates, **changed: object) -> KafkaAccess:
    without: dict[str, object] = {"kafka_sasl_username": None, "kafka_sasl_password": None}
    return scram(broker, issued, kafka_sasl_mechanism="OAUTHBEARER", **without, **changed)


async def works(access: KafkaAccess, topic: str) -> None:
    """Every kind of client that there is: admin, producer, consumer."""
    await ensure_topics(access, [TopicShape(topic, 1, 1, ONE_PARTITION)])
    assert await describe_topic(access, topic) is not None
    async with producer(access, client_id="test") as publishing:
        batch = publishing.create_batch(topic, 0)
        batch.append(b"1", b"{}", [])
        await batch.write()
    partition = TopicPartition(topic, 0)
    async with onlooker(access) as looking:
        assert await looking.bounds([partition]) == {partition: (0, 1)}
    assert await access.refusal() is None


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_clients_prove_themselves_by_password(
    broker: SecureKafka, issued: Certificates, topic_name: str, mechanism: str
) -> None:
    await works(scram(broker, issued, kafka_sasl_mechanism=mechanism), topic_name)


async def test_clients_prove_themselves_by_certificate(
    broker: SecureKafka, issued: Certificates, topic_name: str
) -> None:
    settings = KafkaSettings(
        kafka_bootstrap_servers=broker.mutual,
        kafka_security_protocol="SSL",
        kafka_ssl_ca_file=str(issued.authority),
        kafka_ssl_certificate_file=str(issued.client.certificate),
        kafka_ssl_key_file=str(issued.client.key),
    )
    await works(kafka_access(settings), topic_name)
    without = settings.model_copy(update={"kafka_ssl_certificate_file": None, "kafka_ssl_key_file": None})
    with pytest.raises(KafkaRefused):
        await describe_topic(kafka_access(without), topic_name)


async def test_a_token_file_is_read_again_for_each_connection(
    broker: SecureKafka, issued: Certificates, topic_name: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    access = oauth(broker, issued, kafka_oauth_token_file=str(token))
    refused = await access.refusal()
    assert refused is not None
    assert "QUIZSTREAM_KAFKA_OAUTH_TOKEN_FILE cannot be read" in refused
    token.write_text(unsigned_token(lifetime_seconds=-300))
    with pytest.raises(KafkaRefused, match="refuses the token"):
        await describe_topic(access, topic_name)
    token.write_text(unsigned_token() + "\n")
    await works(access, topic_name)


@asynccontextmanager
async def token_endpoint(status: int, **answer: object) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """An authorization server that answers so, and what it was sent."""
    asked: list[tuple[str, str]] = []

    async def grant(request: web.Request) -> web.Response:
        asked.append((request.headers["Authorization"], await request.text()))
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_post("/token", grant)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/token", asked
    finally:
        await runner.cleanup()


async def test_a_token_is_asked_for_with_client_credentials_and_shared_while_it_lives(
    broker: SecureKafka, issued: Certificates, topic_name: str
) -> None:
    async with token_endpoint(200, access_token=unsigned_token(), token_type="Bearer", expires_in=600) as (url, asked):
        client = {
            "kafka_oauth_token_url": url,
            "kafka_oauth_client_id": "quiz:stream",
            "kafka_oauth_client_secret": "hush",
        }
        await works(oauth(broker, issued, **client, kafka_oauth_scope="kafka"), topic_name)
    login = aiohttp.encode_basic_auth("quiz%3Astream", "hush")
    assert asked == [(login, "grant_type=client_credentials&scope=kafka")]


async def test_an_endpoint_without_tokens_is_told_apart_from_a_broker_that_refuses(
    broker: SecureKafka, issued: Certificates
) -> None:
    client: dict[str, object] = {"kafka_oauth_client_id": "quizstream", "kafka_oauth_client_secret": PASSWORD}
    async with token_endpoint(403) as (url, _):
        refused = await oauth(broker, issued, kafka_oauth_token_url=url, **client).refusal()
    assert "QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL answers with status 403" in str(refused)
    async with token_endpoint(200, id_token="another") as (url, _):
        refused = await oauth(broker, issued, kafka_oauth_token_url=url, **client).refusal()
    assert "does not answer with a token" in str(refused)
    assert PASSWORD not in str(refused)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"kafka_sasl_password": "another"}, "refuses the user, password or token"),
        ({"kafka_sasl_username": "nobody"}, "refuses the user, password or token"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "does not take QUIZSTREAM_KAFKA_SASL_MECHANISM"),
        ({"kafka_ssl_ca_file": "stranger"}, "QUIZSTREAM_KAFKA_SSL_CA_FILE does not vouch for"),
        ({"kafka_ssl_ca_file": "/nowhere.pem"}, "QUIZSTREAM_KAFKA_SSL_CA_FILE names no readable"),
        ({"kafka_bootstrap_servers": "127.0.0.1"}, "a certificate for another host name"),
    ],
)
async def test_what_makes_a_broker_refuse_us_is_told_in_one_line(
    broker: SecureKafka, issued: Certificates, changed: Mapping[str, str], reason: str
) -> None:
    places = {"stranger": str(issued.stranger), "127.0.0.1": broker.sasl.replace("localhost", "127.0.0.1")}
    access = scram(broker, issued, **{name: places.get(value, value) for name, value in changed.items()})
    with pytest.raises(KafkaRefused) as caught:
        await describe_topic(access, "events")
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason
    assert PASSWORD not in caught.value.reason


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sslrootcert": "stranger"}, "does not vouch for"),
        ({"sslrootcert": "/nowhere.pem"}, "certificate file that cannot be read"),
        ({"host": "127.0.0.1"}, "a certificate for another host name"),
        ({"password": "another"}, "refuses the user, its password"),
        ({"sslmode": "disable"}, "refuses the user, its password"),
        ({"sslmode": "verify"}, "a parameter that cannot be used"),
    ],
)
async def test_what_makes_postgresql_refuse_us_is_told_in_one_line(
    server: str, issued: Certificates, changed: Mapping[str, str], reason: str
) -> None:
    url = verified(server, issued)
    assert await postgres.refusal(url) is None
    url = url.replace("localhost", changed.get("host", "localhost")).replace(
        PASSWORD, changed.get("password", PASSWORD)
    )
    root = str(issued.stranger) if changed.get("sslrootcert") == "stranger" else changed.get("sslrootcert")
    url = url.replace(str(issued.authority), root or str(issued.authority))
    refused = await postgres.refusal(url.replace("verify-full", changed.get("sslmode", "verify-full")))
    assert refused is not None
    assert reason in refused
    assert "\n" not in refused


def verified(server: str, issued: Certificates) -> str:
    return f"{server}?sslmode=verify-full&sslrootcert={issued.authority}"


async def test_from_post_to_row_to_get_with_tls_everywhere_and_secrets_from_files(
    broker: SecureKafka, server: str, issued: Certificates, topic_name: str, tmp_path: Path
) -> None:
    files = {"KAFKA_SASL_PASSWORD": PASSWORD, "DATABASE_URL": verified(server, issued), "JWT_SECRET": system.SECRET}
    for name, secret in files.items():
        (tmp_path / name).write_text(f"{secret}\n")
    settings = {
        "QUIZSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "QUIZSTREAM_KAFKA_SSL_CA_FILE": str(issued.authority),
        "QUIZSTREAM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "QUIZSTREAM_KAFKA_SASL_USERNAME": USER,
        "QUIZSTREAM_PARTITIONS": "2",
        "QUIZSTREAM_DATABASE_URL": "",
        "QUIZSTREAM_JWT_SECRET": "",
        **{f"QUIZSTREAM_{name}_FILE": str(tmp_path / name) for name in files},
    }
    path = system.path_of(7)
    headers = {"Authorization": f"Bearer {system.token(POST_SCOPE, GET_SCOPE)}"}
    event = {"event_type": "page_blurred", "client_timestamp": "2026-11-21T10:00:00.123Z", "event_data": {"n": 1}}
    async with (
        system.running(broker.sasl, "", topic_name, tmp_path, settings) as running,
        aiohttp.ClientSession(headers=headers) as client,
    ):
        async with client.post(running.gateway.url + path, json={"quiz_submission_events": [event]}) as answer:
            assert answer.status == 204

        async def read() -> list[dict[str, object]]:
            async with client.get(running.reader.url + path) as answer:
                found: list[dict[str, object]] = orjson.loads(await answer.read())["quiz_submission_events"]
                return found

        (shown,) = await eventually(read)
        assert shown["event_data"] == {"n": 1}
        for command in running.commands:
            assert PASSWORD not in command.log.read_text()
    session = await asyncpg.connect(verified(server, issued))
    assert await session.fetchval("SELECT count(*) FROM quiz_submission_events") == 1
    await session.close()
    await starts_are_refused(settings, broker, server, tmp_path)


async def starts_are_refused(settings: Mapping[str, str], broker: SecureKafka, server: str, tmp_path: Path) -> None:
    """Each command, with one thing wrong, ends at once with one line that quotes no secret."""
    environment = {**settings, "QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.sasl, "QUIZSTREAM_ADMIN_PORT": "0"}
    (tmp_path / "wrong").write_text("not-the-password\n")
    wrong = {"QUIZSTREAM_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "wrong")}
    for command, changed in (
        ("gateway", wrong),
        ("worker", wrong),
        ("migrate", wrong),
        ("reader", {"QUIZSTREAM_DATABASE_URL_FILE": "", "QUIZSTREAM_DATABASE_URL": f"{server}?sslmode=verify-full"}),
    ):
        said = await system.run(command, environment={**environment, **changed}, status=2)
        last = said.splitlines()[-1]
        assert last.startswith("quizstream: "), said
        assert "refuses the user" in last or "certificate" in last
        assert not {PASSWORD, "not-the-password", system.SECRET} & set(said.replace(":", " ").replace("@", " ").split())
