"""Settings: environment variables `QUIZSTREAM_*`, read once per process.

Each process combines the groups it needs with what is its own. The README's table is checked against all of them.
An empty variable counts as not set, as compose files pass `VAR: ${VAR:-}`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from quizstream.runtime.lifecycle import StartRefused

PREFIX: Final = "QUIZSTREAM_"
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


def _key_address(text: str) -> str:
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
PublicAddress = Annotated[str, AfterValidator(_public_address)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)]


class SettingsGroup(BaseSettings):
    """What the groups share: the prefix, and that nothing changes after the start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)


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
    jwks_url: Annotated[str, AfterValidator(_key_address)] | None = Field(
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


class PostgresSettings(SettingsGroup):
    """The store."""

    database_url: Annotated[SecretStr, AfterValidator(_postgres_address)] = Field(
        default=SecretStr("postgresql://127.0.0.1:5432/quizstream"),
        description="PostgreSQL connection URI of the store.",
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
            row = SettingRow(variable(field), _written(info.get_default()), info.description or "")
            rows.setdefault(row.name, row)
    return tuple(rows.values())


def _written(default: object) -> str:
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)
