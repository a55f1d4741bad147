"""How Kafka is reached: brokers, TLS and SASL in one value, made from the settings once and given to every client.

Certificates and tokens are read anew for each client, so what is renewed on disk is taken up without a restart.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote_plus

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from quizstream.runtime.settings import KafkaSettings

TOKEN_TIMEOUT_SECONDS: Final = 5.0
MAX_TOKEN_BYTES: Final = 65_536  # tokens travel in headers elsewhere, whose limits are below that
# A token is renewed after this part of its life, so that none ends while a connection is made with it.
RENEW_AFTER: Final = 0.8
SHORTEST_LIFE_SECONDS: Final = 10.0  # where the endpoint tells none, or less: it is not asked for each connection
ASK_SECONDS: Final = 5.0


class TokenUnavailable(KafkaError):  # noqa: N818  a situation
    """No token could be had. The message says where it went wrong and quotes nothing of it."""


class UnreadableCertificates(KafkaError):  # noqa: N818  as above
    """A file of the TLS settings is missing or holds something else. The message names the settings."""


class Credentials(NamedTuple):
    """Of a client at an authorization server (RFC 6749, section 4.4)."""

    token_url: str
    client_id: str
    client_secret: SecretStr
    scope: str | None


class _Answer(msgspec.Struct):
    """A successful answer of RFC 6749, section 5.1, as far as it is used."""

    access_token: str
    expires_in: float = 0.0


class FileToken(AbstractTokenProvider):
    """A token that somebody else renews in a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def token(self) -> str:
        """Give what the file holds now.

        Raises:
            TokenUnavailable: nothing, or it cannot be read.

        """
        try:
            text = (await asyncio.to_thread(self._path.read_text, encoding="ascii")).strip()
        except (OSError, ValueError) as error:
            raise TokenUnavailable("QUIZSTREAM_KAFKA_OAUTH_TOKEN_FILE cannot be read") from error
        if not text:
            raise TokenUnavailable("QUIZSTREAM_KAFKA_OAUTH_TOKEN_FILE is empty")
        return text


class GrantedToken(AbstractTokenProvider):
    """A token of the client-credentials grant, kept for most of its life and shared by all connections."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._clock = clock
        self._token = ""
        self._renew_at = float("-inf")
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Give a token that has some life left.

        Raises:
            TokenUnavailable: the endpoint did not give one.

        """
        async with self._asking:
            if self._clock() >= self._renew_at:
                asked_at = self._clock()
                answer = await self._ask()
                self._token = answer.access_token
                self._renew_at = asked_at + max(RENEW_AFTER * answer.expires_in, SHORTEST_LIFE_SECONDS)
            return self._token

    async def _ask(self) -> _Answer:
        client = self._credentials
        form = {"grant_type": "client_credentials"} | ({"scope": client.scope} if client.scope else {})
        secret = client.client_secret.get_secret_value()
        login = aiohttp.encode_basic_auth(quote_plus(client.client_id), quote_plus(secret))  # RFC 6749, section 2.3.1
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TOKEN_TIMEOUT_SECONDS)) as session,
                session.post(
                    client.token_url, data=form, headers={"Authorization": login}, allow_redirects=False
                ) as answer,
            ):
                return await _read_answer(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TokenUnavailable("QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL does not answer") from error


async def _read_answer(answer: aiohttp.ClientResponse) -> _Answer:
    if answer.status != 200:
        raise TokenUnavailable(f"QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL answers with status {answer.status}")
    body = bytearray()
    async for part in answer.content.iter_chunked(MAX_TOKEN_BYTES):
        body += part
        if len(body) > MAX_TOKEN_BYTES:
            break
    try:
        return msgspec.json.decode(bytes(body[:MAX_TOKEN_BYTES]), type=_Answer)
    except msgspec.MsgspecError:  # quotes nothing, but is no use to whoever reads it
        raise TokenUnavailable("QUIZSTREAM_KAFKA_OAUTH_TOKEN_URL does not answer with a token") from None


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """The brokers to begin with and how they are spoken to; by default without TLS and SASL."""

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    sasl_mechanism: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    tokens: AbstractTokenProvider | None = None

    def client_options(self) -> dict[str, object]:
        """Give the arguments that every client of aiokafka takes.

        Raises:
            UnreadableCertificates: a file of the TLS settings.

        """
        return {"bootstrap_servers": self.bootstrap_servers, **self._security()}

    def _security(self) -> dict[str, object]:
        options: dict[str, object] = {"security_protocol": self.security_protocol}
        if self.security_protocol in {"SSL", "SASL_SSL"}:
            options["ssl_context"] = self._tls()
        if self.sasl_mechanism is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": None if self.password is None else self.password.get_secret_value(),
                "sasl_oauth_token_provider": self.tokens,
            }
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError:
            raise UnreadableCertificates("QUIZSTREAM_KAFKA_SSL_CA_FILE names no readable PEM certificates") from None
        if self.certificate_file is not None:
            try:
                context.load_cert_chain(self.certificate_file, self.key_file, password="")  # never asks a terminal
            except (OSError, ValueError):
                raise UnreadableCertificates(
                    "QUIZSTREAM_KAFKA_SSL_CERTIFICATE_FILE and .._KEY_FILE name no certificate with its key"
                ) from None
        return context

    async def refusal(self) -> str | None:
        """Say why the brokers will not have us, whatever time passes; None where they do, or do not answer.

        aiokafka tells of no connection why it failed, so one is made for the answer.
        """
        if self.security_protocol == "PLAINTEXT":
            return None
        try:
            options = self._security()
        except UnreadableCertificates as unreadable:
            return str(unreadable)
        for host, port in _addresses(self.bootstrap_servers):
            try:
                connection = await create_conn(host, port, request_timeout_ms=round(ASK_SECONDS * 1000), **options)
            except (OSError, KafkaError, TimeoutError) as error:
                if reason := explain(error):
                    return f"{host}:{port} {reason}"
            else:
                return await self._refusal_of_token(connection)
        return None

    async def _refusal_of_token(self, connection: AIOKafkaConnection) -> str | None:
        """Ask for something: a broker answers a bad token with a challenge, which aiokafka takes for a yes.

        What is sent then is refused in a form that reads as a cluster without brokers.
        """
        if self.sasl_mechanism != "OAUTHBEARER":
            connection.close()
            return None
        try:
            answer = await connection.send(MetadataRequest([]))
        except (KafkaError, TimeoutError):
            return None
        else:
            return None if answer.brokers else f"{connection.host}:{connection.port} refuses the token"
        finally:
            connection.close()


def explain(error: BaseException) -> str | None:
    """Say what about our settings makes a connection fail for good; None where time may heal it."""
    if isinstance(error, KafkaConnectionError) and error.__cause__ is not None:
        return explain(error.__cause__)  # in TLS 1.3 a server refuses a client's certificate after the handshake
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error)
    if isinstance(error, TokenUnavailable):
        return f"wants a token, and there is none: {error}"
    known: Mapping[type[BaseException], str] = {
        SaslAuthenticationFailed: "refuses the user, password or token",
        UnsupportedSaslMechanismError: "does not take QUIZSTREAM_KAFKA_SASL_MECHANISM",
        IllegalSaslStateError: "speaks no SASL there: see QUIZSTREAM_KAFKA_SECURITY_PROTOCOL",
        ssl.SSLError: "speaks no TLS there, or refuses our certificate",
    }
    return next((reason for kind, reason in known.items() if isinstance(error, kind)), None)


def _explain_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return "shows a certificate for another host name"
    return "shows a certificate that QUIZSTREAM_KAFKA_SSL_CA_FILE does not vouch for"


def _addresses(bootstrap_servers: str) -> Iterator[tuple[str, int]]:
    for address in bootstrap_servers.split(","):
        host, _, port = address.strip().rpartition(":")
        yield host.strip("[]"), int(port)


def kafka_access(settings: KafkaSettings) -> KafkaAccess:
    """Give how these settings reach Kafka."""
    return KafkaAccess(
        settings.kafka_bootstrap_servers,
        settings.kafka_security_protocol,
        settings.kafka_ssl_ca_file,
        settings.kafka_ssl_certificate_file,
        settings.kafka_ssl_key_file,
        settings.kafka_sasl_mechanism,
        settings.kafka_sasl_username,
        settings.kafka_sasl_password,
        _tokens(settings),
    )


def _tokens(settings: KafkaSettings) -> AbstractTokenProvider | None:
    if settings.kafka_oauth_token_file is not None:
        return FileToken(settings.kafka_oauth_token_file)
    if (
        settings.kafka_oauth_token_url is None
        or settings.kafka_oauth_client_id is None
        or settings.kafka_oauth_client_secret is None
    ):
        return None
    return GrantedToken(
        Credentials(
            settings.kafka_oauth_token_url,
            settings.kafka_oauth_client_id,
            settings.kafka_oauth_client_secret,
            settings.kafka_oauth_scope,
        )
    )
