"""Settings: environment variables `QUIZSTREAM_*`, read once per process.

Each process combines the groups it needs with what is its own. The README's table is checked against all of them.
An empty variable counts as not set, as compose files pass `VAR: ${VAR:-}`. Every secret may come from a file instead,
named by the variable with `_FILE` behind it.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from quizstream.runtime.lifecycle import StartRefused

PREFIX: Final = "QUIZSTREAM_"
FILE_SUFFIX: Final = "_FILE"
MIN_SECRET_BYTES: Final = 32  # RFC 7518, section 3.2: a key of HS256 has at least the size of its hash

Network = IPv4Network | IPv6Network
SettingsT = TypeVar("SettingsT", bound=BaseSettings)

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]+")
_BROKER: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:,\[\]]+):[0-9]{1,5}")


class SettingsError(StartRefused):
    """A setting is missing, wrong or unsafe. The message is one line, names the variable and quotes no value."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    return secret


def _absolute(text: str) -> URL:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("must be an absolute address that begins with https:// or http://")
    if url.user is not None or url.password is not None:
        raise ValueError("must hold no user name and no password")
    return url


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _safe_address(text: str) -> str:
    url = _absolute(text)
    if url.scheme != "https" and not _is_loopback(url.host):
        raise ValueError("must begin with https:// (http:// is taken for loopback only)")
    return text


def _public_address(text: str) -> str:
    url = _absolute(text)
    if url.query_string or url.fragment or text.endswith(("?", "#")):
        raise ValueError("must have neither a query nor a fragment")
    return text.rstrip("/")


def _origin(text: str) -> str:
    if text in {"null", "*"}:
        raise ValueError("must list origins one by one: `null` and `*` would let any page in")
    url = _absolute(text)
    if url.path != "/" or url.query_string or url.fragment:
        raise ValueError("must hold origins such as https://canvas.example.edu, without a path")
    return str(url.origin())  # as browsers write it: lower case, without the scheme's own port


def _network(value: object) -> object:
    try:
        return ip_network(value, strict=False) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must hold IP addresses or networks such as 10.0.0.0/8") from None


def _brokers(text: str) -> str:
    if not all(_BROKER.fullmatch(part.strip()) for part in text.split(",")):
        raise ValueError("must hold host:port, several separated by commas")
    return text


def _topic_name(text: str) -> str:
    if not _TOPIC.fullmatch(text):
        raise ValueError("must have letters, digits, `.`, `_` and `-` only")
    return text


def _postgres_address(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return secret


def _room_for_flushes(requests: int) -> int:
    # A page flushes every 15 s, and twice as it loads; three of them may be open.
    if 0 < requests < 12:
        raise ValueError("must be 0 or at least 12, as a page flushes every 15 seconds")
    return requests


RequestsPerMinute = Annotated[int, Field(ge=0, le=1_000_000), AfterValidator(_room_for_flushes)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Secret = Annotated[SecretStr, AfterValidator(_long_enough)]
PostgresAddress = Annotated[SecretStr, AfterValidator(_postgres_address)]
PublicAddress = Annotated[str, AfterValidator(_public_address)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)]


def is_secret(field: FieldInfo) -> bool:
    """Tell whether a setting bears a secret, and so may come from a file."""
    return _names_secret(field.annotation)


def _names_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_names_secret, get_args(annotation)))


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets that `QUIZSTREAM_..._FILE` names, as orchestrators mount them; the newline at the end is not of them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        name = variable(field_name)
        path = os.environ.get(name + FILE_SUFFIX) if is_secret(field) else None
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise ValueError(f"{name}: is set, and so is {name}{FILE_SUFFIX}: take one of them")
        return _read_secret(path, name + FILE_SUFFIX), field_name, False

    def __call__(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        faults: list[str] = []
        for field_name, field in self.settings_cls.model_fields.items():
            try:
                value, key, _ = self.get_field_value(field, field_name)
            except ValueError as error:
                faults.append(str(error))
            else:
                found |= {} if value is None else {key: value}
        if faults:
            raise SettingsError("; ".join(faults))
        return found


def _read_secret(path: str, name: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name}: the file cannot be read: {error.strerror}") from None
    except ValueError:  # not UTF-8, or a name that no file can have; the message would quote it
        raise ValueError(f"{name}: must name a file of UTF-8 text") from None
    if not text:
        raise ValueError(f"{name}: the file is empty")
    return text


class SettingsGroup(BaseSettings):
    """What the groups share: the prefix, secrets from files, and that nothing changes after the start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the process sets itself, else the environment, else the files that it names."""
        return init_settings, env_settings, _SecretFiles(settings_cls)


class ProcessSettings(SettingsGroup):
    """What every process has: its admin port and its log."""

    admin_host: str = Field(default="127.0.0.1", description="Address of `/healthz`, `/readyz` and `/metrics`.")
    admin_port: Port = Field(
        default=9090, description="Port of `/healthz`, `/readyz` and `/metrics`; 0 takes a free one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe event logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )


class PublicSettings(SettingsGroup):
    """Where the API is for others."""

    public_url: PublicAddress | None = Field(
        default=None, description="Base of links in answers, such as `https://quiz.example.edu`."
    )


class HttpSettings(PublicSettings):
    """Where the API is served and how its links and origins look."""

    host: str = Field(default="127.0.0.1", description="Address the API is served on.")
    port: Port = Field(default=8080, description="Port the API is served on; 0 takes a free one.")
    trusted_proxies: Networks = Field(
        default=(), description="Addresses or networks (comma-separated) whose `X-Forwarded-*` headers are believed."
    )
    allowed_origins: Origins = Field(
        default=(), description="Origins (comma-separated) whose pages may call the API; `null` never may."
    )
    keepalive_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=75.0, description="Seconds an idle connection stays open; the proxy's own limit must be shorter."
    )
    header_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=20.0, description="Seconds in which the head of a request must come, from its first byte on."
    )
    # An idle connection takes 9 kB of the process (measured; 6 before its first request): 10,000 of them 92 MB. Each
    # needs a descriptor.
    max_connections: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        default=10_000,
        description="Open connections of a process; for one more the one that was idle longest is closed.",
    )
    drain_seconds: Seconds = Field(
        default=5.0,
        description="Seconds the API goes on serving after SIGTERM, not ready any more, until proxies have noticed.",
    )
    finish_seconds: Seconds = Field(
        default=20.0, description="Seconds that running requests have to finish when the API has stopped accepting."
    )

    requests_per_minute_per_token: RequestsPerMinute = Field(
        default=0,
        description="Requests of one token that a process takes before it answers 429; 0: any number.",
    )
    requests_per_minute_per_submission: RequestsPerMinute = Field(
        default=0, description="Requests for one submission that a process takes before it answers 429; 0: any number."
    )


class SigningSettings(SettingsGroup):
    """What tokens of our own are signed with, and what they carry."""

    jwt_secret: Secret | None = Field(default=None, description="Secret of HS256 tokens, at least 32 bytes.")
    jwt_issuer: str | None = Field(default=None, description="`iss` that tokens must carry.")
    jwt_audience: str | None = Field(default=None, description="`aud` that tokens must carry.")


class AccessSettings(SigningSettings):
    """Which tokens are believed."""

    jwks_file: str | None = Field(
        default=None, description="File with the public keys as a JSON Web Key Set or as PEM; read again as it changes."
    )
    jwks_url: Annotated[str, AfterValidator(_safe_address)] | None = Field(
        default=None, description="https address of a JSON Web Key Set."
    )


class PartitionSettings(SettingsGroup):
    """Over how many partitions submissions are spread."""

    partitions: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=12, description="Partitions of each topic; one with fewer stops the start."
    )


class KafkaSettings(PartitionSettings):
    """The log."""

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_brokers)] = Field(
        default="127.0.0.1:9092", description="Brokers to begin with, comma-separated."
    )
    # Kafka's limit of 249 characters, less those of `.quarantine`.
    topic: Annotated[str, Field(min_length=1, max_length=238), AfterValidator(_topic_name)] = Field(
        default="quiz-submission-events", description="Topic of the events; `.quarantine` is appended."
    )
    allow_single_replica: bool = Field(
        default=False, description="Take topics that survive a crash of Kafka, but not the loss of its disk."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How brokers are spoken to, as Kafka's `security.protocol`."
    )
    kafka_ssl_ca_file: str | None = Field(
        default=None, description="PEM file of the authorities behind the brokers' certificates; unset: the system's."
    )
    kafka_ssl_certificate_file: str | None = Field(
        default=None, description="PEM file with our certificate, for brokers that ask for one (mTLS)."
    )
    kafka_ssl_key_file: str | None = Field(default=None, description="PEM file with its key, not encrypted.")
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"] | None = Field(
        default=None, description="`SCRAM-SHA-512`, `SCRAM-SHA-256`, `PLAIN` or `OAUTHBEARER`, where SASL is spoken."
    )
    kafka_sasl_username: str | None = Field(default=None, description="User of SCRAM or PLAIN.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="Password of SCRAM or PLAIN.")
    kafka_oauth_token_url: Annotated[str, AfterValidator(_safe_address)] | None = Field(
        default=None, description="https address that gives tokens for client credentials (RFC 6749, section 4.4)."
    )
    kafka_oauth_client_id: str | None = Field(default=None, description="Client of that address.")
    kafka_oauth_client_secret: SecretStr | None = Field(default=None, description="Secret of that client.")
    kafka_oauth_scope: str | None = Field(default=None, description="Scope to ask for.")
    kafka_oauth_token_file: str | None = Field(
        default=None, description="File with a token, instead of an address; read again for each connection."
    )

    @model_validator(mode="after")
    def _security_is_whole(self) -> Self:
        faults = [*_tls_faults(self), *_sasl_faults(self)]
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _tls_faults(settings: KafkaSettings) -> Iterable[str]:
    files = ("kafka_ssl_ca_file", "kafka_ssl_certificate_file", "kafka_ssl_key_file")
    if settings.kafka_security_protocol not in {"SSL", "SASL_SSL"}:
        yield from _needless(settings, files, "needs SSL or SASL_SSL as QUIZSTREAM_KAFKA_SECURITY_PROTOCOL")
    elif bool(settings.kafka_ssl_certificate_file) != bool(settings.kafka_ssl_key_file):
        yield "QUIZSTREAM_KAFKA_SSL_CERTIFICATE_FILE and QUIZSTREAM_KAFKA_SSL_KEY_FILE: set both, or none"


def _sasl_faults(settings: KafkaSettings) -> Iterable[str]:
    password = ("kafka_sasl_username", "kafka_sasl_password")
    credentials = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
    oauth = (*credentials, "kafka_oauth_scope", "kafka_oauth_token_file")
    mechanism = settings.kafka_sasl_mechanism
    if not settings.kafka_security_protocol.startswith("SASL_"):
        needs = "needs SASL_SSL or SASL_PLAINTEXT as QUIZSTREAM_KAFKA_SECURITY_PROTOCOL"
        yield from _needless(settings, ("kafka_sasl_mechanism", *password, *oauth), needs)
    elif mechanism is None:
        yield "QUIZSTREAM_KAFKA_SASL_MECHANISM: is missing"
    elif mechanism == "OAUTHBEARER":
        yield from _needless(settings, password, "is not for OAUTHBEARER")
        yield from _token_faults(settings, credentials)
    else:
        yield from _needless(settings, oauth, f"is not for {mechanism}")
        yield from _missing(settings, password)
    if settings.kafka_security_protocol == "SASL_PLAINTEXT" and mechanism in {"PLAIN", "OAUTHBEARER"}:
        yield from _in_the_clear(settings)


def _token_faults(settings: KafkaSettings, credentials: Iterable[str]) -> Iterable[str]:
    if settings.kafka_oauth_token_file is None:
        yield from _missing(settings, credentials)
    else:
        yield from _needless(settings, credentials, "is not needed with QUIZSTREAM_KAFKA_OAUTH_TOKEN_FILE: take one")


def _in_the_clear(settings: KafkaSettings) -> Iterable[str]:
    hosts = (address.strip().rpartition(":")[0] for address in settings.kafka_bootstrap_servers.split(","))
    if not all(_is_loopback(host.strip("[]")) for host in hosts):
        yield "QUIZSTREAM_KAFKA_SECURITY_PROTOCOL: must be SASL_SSL, or the password or token could be read on its way"


def _needless(settings: KafkaSettings, fields: Iterable[str], why: str) -> Iterable[str]:
    return (f"{variable(field)}: {why}" for field in fields if getattr(settings, field) is not None)


def _missing(settings: KafkaSettings, fields: Iterable[str]) -> Iterable[str]:
    return (f"{variable(field)}: is missing" for field in fields if getattr(settings, field) is None)


class PostgresSettings(SettingsGroup):
    """The store."""

    database_url: PostgresAddress = Field(
        default=SecretStr("postgresql://127.0.0.1:5432/quizstream"),
        description="PostgreSQL connection URI of the store, such as"
        " `postgresql://worker:..@db/quizstream?sslmode=verify-full&sslrootcert=/run/ca.pem`.",
    )


def load(build: Callable[[], SettingsT]) -> SettingsT:
    """Read the settings of a process: `load(GatewaySettings)`, or `load(partial(GatewaySettings, port=0))`.

    Raises:
        SettingsError: a variable is wrong; its message names all that are, in one line.

    """
    try:
        return build()
    except ValidationError as error:
        faults = "; ".join(dict.fromkeys(map(_fault, error.errors(include_url=False, include_input=False))))
    raise SettingsError(faults)


def _fault(detail: ErrorDetails) -> str:
    cause = detail.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, ValueError) else detail["msg"]
    if not detail["loc"]:  # of several settings together: the message names them
        return message
    return f"{variable(str(detail['loc'][0]))}: {message[:1].lower()}{message[1:]}"


def variable(field: str) -> str:
    """Give the environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


class SettingRow(NamedTuple):
    """One row of the table of settings: the variable, its default as one would write it (`""`: none), its meaning."""

    name: str
    default: str
    description: str


def list_settings(groups: Iterable[type[BaseSettings]]) -> Sequence[SettingRow]:
    """List the settings of these classes, each once, in the order in which they are declared."""
    rows: dict[str, SettingRow] = {}
    for group in groups:
        for field, info in group.model_fields.items():
            row = SettingRow(variable(field), _written(info.get_default()), _described(field, info))
            rows.setdefault(row.name, row)
    return tuple(rows.values())


def _described(field: str, info: FieldInfo) -> str:
    in_a_file = f" Or in the file that `{variable(field)}{FILE_SUFFIX}` names." if is_secret(info) else ""
    return (info.description or "") + in_a_file


def _written(default: object) -> str:
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)
