"""What is taken from the environment, and what stops the start."""

from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from quizstream.runtime.settings import (
    AccessSettings,
    HttpSettings,
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    SettingsError,
    list_settings,
    load,
)

SECRET = "correct horse battery staple, twice over"


class EverySettings(ProcessSettings, HttpSettings, AccessSettings, KafkaSettings, PostgresSettings):
    """All groups in one process, as `dev` has them."""


def refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(EverySettings)
    return str(caught.value)


def test_the_groups_of_a_process_all_read_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_PORT", "0")
    monkeypatch.setenv("QUIZSTREAM_TOPIC", "events")
    monkeypatch.setenv("QUIZSTREAM_ADMIN_PORT", "1")
    monkeypatch.setenv("PORT", "5")
    settings = load(EverySettings)
    assert (settings.port, settings.topic, settings.admin_port) == (0, "events", 1)


def test_a_process_can_set_what_its_environment_does_not() -> None:
    assert load(partial(EverySettings, port=0)).port == 0


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_ALLOWED_ORIGINS", "https://Canvas.example.edu:443, http://localhost:3000,")
    monkeypatch.setenv("QUIZSTREAM_TRUSTED_PROXIES", "10.0.0.0/8,::1,192.0.2.7/24")
    settings = load(HttpSettings)
    assert settings.allowed_origins == ("https://canvas.example.edu", "http://localhost:3000")
    assert list(map(str, settings.trusted_proxies)) == ["10.0.0.0/8", "::1/128", "192.0.2.0/24"]


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_JWKS_URL", "")
    monkeypatch.setenv("QUIZSTREAM_PORT", "")
    settings = load(EverySettings)
    assert (settings.jwks_url, settings.port) == (None, 8080)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUIZSTREAM_PORT", "70000"),
        ("QUIZSTREAM_PORT", "tcp://10.0.0.1:8080"),
        ("QUIZSTREAM_LOG_LEVEL", "loud"),
        ("QUIZSTREAM_JWT_SECRET", "short-secret"),
        ("QUIZSTREAM_JWT_SECRET", "é" * 15),
        ("QUIZSTREAM_JWKS_URL", "http://keys.example.edu/jwks"),
        ("QUIZSTREAM_JWKS_URL", "ftp://127.0.0.1/jwks"),
        ("QUIZSTREAM_JWKS_URL", "keys.example.edu"),
        ("QUIZSTREAM_ALLOWED_ORIGINS", "null"),
        ("QUIZSTREAM_ALLOWED_ORIGINS", "https://a.example,*"),
        ("QUIZSTREAM_ALLOWED_ORIGINS", "canvas.example.edu"),
        ("QUIZSTREAM_ALLOWED_ORIGINS", "https://a.example/path"),
        ("QUIZSTREAM_ALLOWED_ORIGINS", "https://user:pw@a.example"),
        ("QUIZSTREAM_PUBLIC_URL", "quiz.example.edu"),
        ("QUIZSTREAM_PUBLIC_URL", "https://quiz.example.edu?x=1"),
        ("QUIZSTREAM_PUBLIC_URL", "https://quiz.example.edu#top"),
        ("QUIZSTREAM_TRUSTED_PROXIES", "proxy.example.edu"),
        ("QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS", "broker"),
        ("QUIZSTREAM_TOPIC", "quiz events"),
        ("QUIZSTREAM_TOPIC", "t" * 239),
        ("QUIZSTREAM_PARTITIONS", "0"),
        ("QUIZSTREAM_DATABASE_URL", "mysql://root:hunter2-hunter2@db/quiz"),
        ("QUIZSTREAM_DRAIN_SECONDS", "inf"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_that_quotes_no_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = refused(monkeypatch, name, value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert len(value) < 5 or value not in message


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_PORT", "x")
    message = refused(monkeypatch, "QUIZSTREAM_JWT_SECRET", "short-secret")
    assert "QUIZSTREAM_PORT: " in message
    assert "QUIZSTREAM_JWT_SECRET: " in message


@pytest.mark.parametrize("url", ["https://keys.example.edu/jwks", "http://127.0.0.1:1/k", "http://[::1]/k"])
def test_keys_come_by_https_or_from_loopback(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QUIZSTREAM_JWKS_URL", url)
    assert load(AccessSettings).jwks_url == url


def test_the_public_address_may_have_a_path_and_loses_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_PUBLIC_URL", "https://example.edu/quiz/")
    assert load(HttpSettings).public_url == "https://example.edu/quiz"


def test_a_secret_does_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIZSTREAM_JWT_SECRET", SECRET)
    settings = load(AccessSettings)
    assert settings.jwt_secret == SecretStr(SECRET)
    assert SECRET not in repr(settings)


def test_the_table_lists_every_setting_once_with_default_and_meaning() -> None:
    rows = {row.name: row for row in list_settings([ProcessSettings, HttpSettings, EverySettings])}
    assert len(rows) == len(EverySettings.model_fields)
    assert rows["QUIZSTREAM_PORT"].default == "8080"
    assert rows["QUIZSTREAM_ALLOWED_ORIGINS"].default == ""
    assert rows["QUIZSTREAM_DATABASE_URL"].default == "postgresql://127.0.0.1:5432/quizstream"
    assert all(row.description.endswith(".") for row in rows.values())


SASL = {"QUIZSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "QUIZSTREAM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
USER = {"QUIZSTREAM_KAFKA_SASL_USERNAME": "u", "QUIZSTREAM_KAFKA_SASL_PASSWORD": SECRET}
PLAINTEXT = {"QUIZSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "QUIZSTREAM_KAFKA_SASL_MECHANISM": "PLAIN"}


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"QUIZSTREAM_KAFKA_SSL_CA_FILE": "/ca.pem"}, "QUIZSTREAM_KAFKA_SSL_CA_FILE"),
        ({"QUIZSTREAM_KAFKA_SASL_MECHANISM": "PLAIN"}, "QUIZSTREAM_KAFKA_SASL_MECHANISM"),
        (USER, "QUIZSTREAM_KAFKA_SASL_PASSWORD"),
        ({"QUIZSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "QUIZSTREAM_KAFKA_SASL_MECHANISM"),
        (SASL, "QUIZSTREAM_KAFKA_SASL_USERNAME"),
        (SASL | USER | {"QUIZSTREAM_KAFKA_OAUTH_SCOPE": "kafka"}, "QUIZSTREAM_KAFKA_OAUTH_SCOPE"),
        (SASL | USER | {"QUIZSTREAM_KAFKA_SSL_KEY_FILE": "/key.pem"}, "QUIZSTREAM_KAFKA_SSL_CERTIFICATE_FILE"),
        (SASL | {"QUIZSTREAM_KAFKA_SASL_MECHANISM": "OAUTHBEARER"}, "QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL"),
        (PLAINTEXT | USER | {"QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": "[::1]:1,kafka:9092"}, "must be SASL_SSL"),
        ({"QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL": "http://login.example.edu/token"}, "QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL"),
    ],
)
def test_security_of_kafka_that_is_not_whole_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(KafkaSettings)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_password_may_travel_in_the_clear_on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (PLAINTEXT | USER | {"QUIZSTREAM_KAFKA_BOOTSTRAP_SERVERS": "[::1]:1,localhost:2"}).items():
        monkeypatch.setenv(name, value)
    assert load(KafkaSettings).kafka_sasl_mechanism == "PLAIN"


SECRETS = {
    "QUIZSTREAM_JWT_SECRET": SECRET,
    "QUIZSTREAM_KAFKA_SASL_PASSWORD": "p",
    "QUIZSTREAM_KAFKA_OAUTH_CLIENT_SECRET": "c",
    "QUIZSTREAM_DATABASE_URL": "postgresql://u:pw@db/quiz",
}


def test_every_secret_may_come_from_a_file_whose_last_newline_is_not_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    described = {row.name: row.description for row in list_settings([EverySettings])}
    assert {name for name, description in described.items() if f"`{name}_FILE`" in description} == set(SECRETS)
    fields = EverySettings.model_fields
    secrets = {name: value for name, value in SECRETS.items() if "KAFKA" not in name}
    for name, value in secrets.items():
        (tmp_path / name).write_text(f"{value}\r\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = load(EverySettings)
    read = {name: getattr(settings, name.removeprefix("QUIZSTREAM_").lower()) for name in secrets}
    assert {name: value.get_secret_value() for name, value in read.items()} == secrets
    assert settings.model_fields_set <= set(fields)


def test_a_secret_that_is_set_twice_is_taken_from_neither(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("QUIZSTREAM_JWT_SECRET_FILE", str(tmp_path / "secret"))
    message = refused(monkeypatch, "QUIZSTREAM_JWT_SECRET", SECRET)
    assert "QUIZSTREAM_JWT_SECRET: is set, and so is QUIZSTREAM_JWT_SECRET_FILE" in message
    assert SECRET not in message
    monkeypatch.setenv("QUIZSTREAM_JWT_SECRET", "")
    assert load(AccessSettings).jwt_secret == SecretStr(SECRET)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"short\n"])
def test_a_file_without_a_usable_secret_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    message = refused(monkeypatch, "QUIZSTREAM_JWT_SECRET_FILE", str(tmp_path / "secret"))
    assert message.startswith("QUIZSTREAM_JWT_SECRET")
    assert "\n" not in message
    assert "short" not in message
