"""Bearer tokens: JSON Web Tokens (RFC 7519) verified by keys that are configured, never by keys that a token names.

    TokenInvalid      the token is at fault; `code` says how
    KeysUnavailable   (of `keys`) nothing can be said about the token now: the caller shall come again

As the type of a key decides its algorithm, neither `alg=none` nor a public key taken for a secret verifies anything;
of a token's header only `alg` and `kid` are read (not `jku`, `jwk`, `x5u`, `x5c`).
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import jwt
from aiohttp import hdrs, web

from quizstream.runtime.keys import (
    Algorithm,
    Key,
    KeyAddress,
    KeyFile,
    Keyring,
    KeySource,
    KeysUnavailable,
    SecretKey,
)
from quizstream.runtime.settings import AccessSettings, SettingsError

# With `KeysUnavailable`, as whoever calls `verify` has to answer it.
__all__ = [
    "KeysUnavailable",
    "TokenInvalid",
    "TokenVerifier",
    "bearer_token",
    "issue_token",
    "open_keyring",
]

T = TypeVar("T")

LEEWAY_SECONDS: Final = 60.0
MAX_TOKEN_CHARACTERS: Final = 16_384  # twice the longest header line that is accepted
CACHED_TOKENS: Final = 10_000  # some ten MB of tokens of 1 kB
CACHED_SECONDS: Final = 300.0

_USUAL_SCHEME: Final = "Bearer "
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1


class TokenInvalid(Exception):  # noqa: N818  the caller's fault, not an error of ours
    """The token is missing, malformed, forged, expired or for somebody else. `code` is stable and quotes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def open_keyring(settings: AccessSettings) -> Keyring:
    """Make the keyring that the settings describe, and read it once. An address may be unreachable at the start.

    Raises:
        SettingsError: no key is configured, or the file holds none.

    """
    sources: list[KeySource] = []
    if settings.jwt_secret is not None:
        sources.append(SecretKey(settings.jwt_secret.get_secret_value()))
    if settings.jwks_file is not None:
        sources.append(await _readable(KeyFile(Path(settings.jwks_file))))
    if settings.jwks_url is not None:
        sources.append(KeyAddress(settings.jwks_url))
    if not sources:
        raise SettingsError("QUIZSTREAM_JWT_SECRET, QUIZSTREAM_JWKS_FILE or QUIZSTREAM_JWKS_URL must be set")
    keyring = Keyring(sources)
    await keyring.refresh()
    return keyring


async def _readable(file: KeyFile) -> KeyFile:
    try:
        await file.read()
    except KeysUnavailable:
        raise SettingsError(
            "QUIZSTREAM_JWKS_FILE: must name a readable file with public keys for RS256, ES256 or EdDSA"
        ) from None
    return file


class Refusals(NamedTuple):
    """What is raised to the caller of a process: for a token with a code, and while nothing can be said about it."""

    token: Callable[[str], Exception] = TokenInvalid
    keys: Callable[[], Exception] = KeysUnavailable


_OWN: Final = Refusals()


class _Verified(NamedTuple, Generic[T]):
    """What a token stands for, and until when that need not be verified again."""

    value: T
    until: float


class TokenVerifier(Generic[T]):
    """Verifies tokens and keeps what they stand for; `convert` makes that of their claims.

    At most `CACHED_TOKENS` are kept, for at most `CACHED_SECONDS`, and never beyond their `exp` or a change of keys.
    """

    def __init__(
        self,
        keys: Keyring,
        convert: Callable[[Mapping[str, object]], T],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        refusals: Refusals = _OWN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = self._keys = keys
        self._refusals = refusals
        self._convert = convert
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache: dict[str, _Verified[T]] = {}
        self._generation = keys.generation
        self._jws = jwt.PyJWS()

    def cached(self, token: str) -> T | None:
        """Give what a token stands for if it was verified a short while ago, else None."""
        if self._generation != self._keys.generation:
            self._cache.clear()
            self._generation = self._keys.generation
        found = self._cache.get(token)
        if found is None:
            return None
        if self._clock() < found.until:
            return found.value
        del self._cache[token]
        return None

    async def verify(self, token: str) -> T:
        """Give what a token stands for.

        Raises:
            Exception: as `Refusals` says, by default `TokenInvalid` and `KeysUnavailable`.

        """
        found = self.cached(token)
        if found is not None:
            return found
        try:
            return await self._verify(token)
        except TokenInvalid as invalid:
            raise self._refusals.token(invalid.code) from None
        except KeysUnavailable:
            raise self._refusals.keys() from None

    def bearer_token(self, request: web.BaseRequest) -> str | None:
        """Give the token of the `Authorization` header, None where there is none.

        Raises:
            Exception: the header is malformed; `Refusals` says which.

        """
        sent = request.headers.get(hdrs.AUTHORIZATION, "")
        if sent.startswith(_USUAL_SCHEME) and (token := sent[len(_USUAL_SCHEME) :]) in self._cache:
            return token  # it has passed before
        try:
            return bearer_token(request)
        except TokenInvalid as invalid:
            raise self._refusals.token(invalid.code) from None

    async def _verify(self, token: str) -> T:
        claims = self._claims(await self._payload(token))
        expires = self._check_times(claims)
        self._check_addressee(claims)
        value = self._convert(claims)
        self._keep(token, value, expires)
        return value

    def _keep(self, token: str, value: T, expires: float) -> None:
        if len(self._cache) >= CACHED_TOKENS:
            del self._cache[next(iter(self._cache))]
        self._cache[token] = _Verified(value, min(expires, self._clock() + CACHED_SECONDS))

    async def _payload(self, token: str) -> bytes:
        algorithm, kid = _header(token)
        payload = self._try_keys(token, algorithm, kid)
        if payload is None and algorithm != "HS256" and not self._keys.knows(kid):
            await self._keys.refresh_for_unknown()
            payload = self._try_keys(token, algorithm, kid)
            if payload is None and not self._keys.knows(kid) and not self._keys.complete:
                raise KeysUnavailable
        if payload is None:
            raise TokenInvalid("token_signature")
        return payload

    def _try_keys(self, token: str, algorithm: Algorithm, kid: str | None) -> bytes | None:
        payloads = (self._signed_payload(token, key) for key in self._keys.find(algorithm, kid))
        return next((payload for payload in payloads if payload is not None), None)

    def _signed_payload(self, token: str, key: Key) -> bytes | None:
        try:
            payload: object = self._jws.decode(token, key.material, algorithms=[key.algorithm])
        except jwt.InvalidSignatureError:
            return None
        except jwt.PyJWTError:
            raise TokenInvalid("token_malformed") from None
        return payload if isinstance(payload, bytes) else None

    def _claims(self, payload: bytes) -> Mapping[str, object]:
        try:
            claims: object = json.loads(payload)
        except (ValueError, RecursionError):
            raise TokenInvalid("token_malformed") from None
        if not isinstance(claims, dict):
            raise TokenInvalid("token_malformed")
        return claims

    def _check_times(self, claims: Mapping[str, object]) -> float:
        now = self._clock()
        expires = _numeric_date(claims, "exp")
        if expires is None:
            raise TokenInvalid("token_without_expiry")
        if expires <= now - LEEWAY_SECONDS:
            raise TokenInvalid("token_expired")
        for name in ("nbf", "iat"):
            begins = _numeric_date(claims, name)
            if begins is not None and begins > now + LEEWAY_SECONDS:
                raise TokenInvalid("token_not_yet_valid")
        return expires

    def _check_addressee(self, claims: Mapping[str, object]) -> None:
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise TokenInvalid("token_issuer")
        named = claims.get("aud")
        audiences = named if isinstance(named, list) else [named]
        if self._audience is not None and self._audience not in audiences:
            raise TokenInvalid("token_audience")


async def open_verifier(
    settings: AccessSettings, convert: Callable[[Mapping[str, object]], T], refusals: Refusals
) -> TokenVerifier[T]:
    """Make the verifier that the settings describe; its `keys` are kept fresh by the caller (`Keyring.keep_fresh`).

    Raises:
        SettingsError: as `open_keyring`.

    """
    keys = await open_keyring(settings)
    return TokenVerifier(keys, convert, issuer=settings.jwt_issuer, audience=settings.jwt_audience, refusals=refusals)


def _header(token: str) -> tuple[Algorithm, str | None]:
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise TokenInvalid("token_malformed")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenInvalid("token_malformed") from None
    kid: object = header.get("kid")
    for algorithm in ("HS256", "RS256", "ES256", "EdDSA"):
        if header.get("alg") == algorithm:
            return algorithm, kid if isinstance(kid, str) else None
    raise TokenInvalid("token_algorithm")


def _numeric_date(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid("token_malformed")
    try:
        seconds = float(value)
    except OverflowError:
        raise TokenInvalid("token_malformed") from None
    if not math.isfinite(seconds):
        raise TokenInvalid("token_malformed")
    return seconds


def bearer_token(request: web.BaseRequest) -> str | None:
    """Give the token of the `Authorization` header, None where the header is missing or of another scheme.

    Raises:
        TokenInvalid: the scheme is Bearer, but no token follows after exactly one blank (RFC 6750, section 2.1).

    """
    sent = request.headers.get(hdrs.AUTHORIZATION)
    if sent is None:
        return None
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer":
        return None
    if not _BEARER.fullmatch(token):
        raise TokenInvalid("token_malformed")
    return token


def issue_token(
    secret: str, claims: Mapping[str, object], ttl_seconds: float, *, clock: Callable[[], float] = time.time
) -> str:
    """Sign `claims` with HS256, valid from now for `ttl_seconds`."""
    now = math.floor(clock())
    return jwt.encode({**claims, "iat": now, "exp": now + math.ceil(ttl_seconds)}, secret, algorithm="HS256")
