"""The keys by which tokens are verified: a secret, public keys in a file, public keys behind an address.

    KeysUnavailable   no keys, or not the newest, can be had at the moment

The type of a key decides its one algorithm (RFC 8725, section 3.1): a secret HS256, RSA RS256, P-256 ES256, Ed25519
EdDSA.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

import aiohttp
import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from structlog.typing import FilteringBoundLogger

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
Material = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MIN_RSA_BITS: Final = 2_048  # RFC 7518, section 3.3
MAX_KEYS: Final = 100  # a token without `kid` is tried against all: 100 RSA verifications take some 5 ms
MAX_KEY_SET_BYTES: Final = 2**20
FETCH_TIMEOUT_SECONDS: Final = 10.0
URL_REFRESH_SECONDS: Final = 300.0
FILE_REFRESH_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 30.0
# An answer has 5 s in all. The reading goes on, for those who come later.
WAIT_FOR_KEYS_SECONDS: Final = 2.5

_PEM_BLOCK: Final = re.compile(rb"-----BEGIN (RSA )?PUBLIC KEY-----.+?-----END (?(1)RSA )PUBLIC KEY-----", re.DOTALL)

log: FilteringBoundLogger = structlog.get_logger()


class KeysUnavailable(Exception):  # noqa: N818  a situation
    """The keys that could verify the token cannot be had: nothing is known about the token."""


class Key(NamedTuple):
    """A key, the only algorithm it serves, and the name by which tokens may point at it."""

    kid: str | None
    algorithm: Algorithm
    material: Material


class KeySource(Protocol):
    """Where keys come from, and how long after a reading they are read again (`math.inf`: never)."""

    @property
    def refresh_seconds(self) -> float: ...  # noqa: D102

    async def read(self) -> Sequence[Key]:
        """Give all keys of the source.

        Raises:
            KeysUnavailable: they cannot be had, or there is none that can be used.

        """
        ...


class SecretKey:
    """The one secret of HS256 tokens."""

    refresh_seconds = math.inf

    def __init__(self, secret: str) -> None:
        self._key = Key(None, "HS256", secret.encode())

    async def read(self) -> Sequence[Key]:
        """Give the key."""
        return (self._key,)


class KeyFile:
    """Public keys in a file, as a JSON Web Key Set or as PEM blocks; a file that changes is read again."""

    refresh_seconds = FILE_REFRESH_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Sequence[Key]:
        """Give the keys of the file as it is now."""
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            raise KeysUnavailable from error
        return parse_keys(content)


class KeyAddress:
    """A JSON Web Key Set behind an address; the answer is bounded in size and time, and redirects are not followed."""

    refresh_seconds = URL_REFRESH_SECONDS

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> Sequence[Key]:
        """Fetch the keys."""
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise KeysUnavailable
                content = await _read_bounded(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KeysUnavailable from error
        return parse_keys(content)


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    held = bytearray()
    async for chunk in content.iter_any():
        held += chunk
        if len(held) > MAX_KEY_SET_BYTES:
            raise KeysUnavailable
    return bytes(held)


def parse_keys(content: bytes) -> Sequence[Key]:
    """Read public keys from a JSON Web Key Set (RFC 7517) or PEM blocks; keys of other uses and types are left out.

    Raises:
        KeysUnavailable: there is none that can be used.

    """
    keys = [_key_of_pem(block[0]) for block in _PEM_BLOCK.finditer(content)]
    if not keys:
        keys = [_key_of_jwk(member) for member in _members(content)]
    usable = tuple(key for key in keys if key is not None)[:MAX_KEYS]
    if not usable:
        raise KeysUnavailable
    return usable


def _members(content: bytes) -> Sequence[object]:
    try:
        key_set: object = json.loads(content)
    except (ValueError, RecursionError):
        return ()
    members: object = key_set.get("keys") if isinstance(key_set, dict) else None
    return members if isinstance(members, list) else ()


def _key_of_pem(block: bytes) -> Key | None:
    try:
        return _key_of(None, load_pem_public_key(block))
    except (ValueError, UnsupportedAlgorithm):
        return None


def _key_of_jwk(member: object) -> Key | None:
    if not isinstance(member, dict) or member.get("use", "sig") != "sig" or "d" in member:
        return None
    kid = member.get("kid")
    try:
        key = _key_of(kid if isinstance(kid, str) else None, _material_of(member))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return key if key is not None and member.get("alg", key.algorithm) == key.algorithm else None


def _material_of(member: dict[str, object]) -> object:
    text = json.dumps(member)
    match member.get("kty"):
        case "RSA":
            return RSAAlgorithm.from_jwk(text)
        case "EC":
            return ECAlgorithm.from_jwk(text)
        case "OKP":
            return OKPAlgorithm.from_jwk(text)
        case _:  # `oct` too: a secret has no place among public keys
            return None


def _key_of(kid: str | None, material: object) -> Key | None:
    if isinstance(material, RSAPublicKey) and material.key_size >= MIN_RSA_BITS:
        return Key(kid, "RS256", material)
    if isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1):
        return Key(kid, "ES256", material)
    if isinstance(material, Ed25519PublicKey):
        return Key(kid, "EdDSA", material)
    return None


class _Shelf:
    """The keys of one source as they were last read."""

    def __init__(self, source: KeySource) -> None:
        self.source = source
        self.keys: Sequence[Key] = ()
        self.tried_at: float | None = None
        self.failed = False

    @property
    def due_at(self) -> float:
        if self.tried_at is None:
            return -math.inf
        wait = RETRY_SECONDS if self.failed else math.inf
        return self.tried_at + min(wait, self.source.refresh_seconds)

    def may_hold_more(self, now: float) -> bool:
        """Whether a reading for the sake of an unknown key is worth while and not too soon."""
        return self.source.refresh_seconds < math.inf and (
            self.tried_at is None or now - self.tried_at >= RETRY_SECONDS
        )

    async def read(self, now: float) -> bool:
        """Read the source; gives whether its keys changed. After a failure the old ones go on."""
        self.tried_at = now
        try:
            keys = await self.source.read()
        except KeysUnavailable as error:
            if not self.failed:
                log.warning("keys_unavailable", source=type(self.source).__name__, exc_info=error)
            self.failed = True
            return False
        self.failed = False
        changed = tuple(keys) != tuple(self.keys)
        self.keys = keys
        return changed


class Keyring:
    """All keys, refreshed in the background. `generation` grows whenever they change."""

    def __init__(
        self,
        sources: Sequence[KeySource],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait_seconds: float = WAIT_FOR_KEYS_SECONDS,
    ) -> None:
        self._shelves = tuple(_Shelf(source) for source in sources)
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._refreshing: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return sum(len(shelf.keys) for shelf in self._shelves)

    @property
    def complete(self) -> bool:
        """Whether every source could be read when it was last tried."""
        return not any(shelf.failed for shelf in self._shelves)

    def find(self, algorithm: Algorithm, kid: str | None) -> Sequence[Key]:
        """Give the keys that may have signed: of that algorithm, and with that name if the token gives one.

        Keys without a name stand for any name.
        """
        return [
            key
            for shelf in self._shelves
            for key in shelf.keys
            if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
        ]

    def knows(self, kid: str | None) -> bool:
        """Whether a key has that name, so that a token which names it is not about a newer key."""
        return kid is not None and any(key.kid == kid for shelf in self._shelves for key in shelf.keys)

    async def refresh(self) -> None:
        """Read all sources that are due."""
        await self._read([shelf for shelf in self._shelves if self._clock() >= shelf.due_at])

    async def refresh_for_unknown(self) -> None:
        """Read the sources again because no known key fits a token; each at most every `RETRY_SECONDS`.

        Callers at the same time share one reading, which goes on when one of them leaves.

        Raises:
            KeysUnavailable: it lasts longer than a caller can wait.

        """
        if self._refreshing is None or self._refreshing.done():
            now = self._clock()
            due = [shelf for shelf in self._shelves if shelf.may_hold_more(now)]
            if not due:
                return
            self._refreshing = asyncio.create_task(self._read(due), name="refresh keys")
        done, _ = await asyncio.wait((self._refreshing,), timeout=self._wait_seconds)
        if not done:
            raise KeysUnavailable
        self._refreshing.result()

    async def keep_fresh(self) -> None:
        """Read the sources as they become due, until cancelled."""
        while True:
            due_at = min((shelf.due_at for shelf in self._shelves), default=math.inf)
            await asyncio.sleep(min(max(due_at - self._clock(), 0.0), URL_REFRESH_SECONDS))
            await self.refresh()

    async def _read(self, shelves: Sequence[_Shelf]) -> None:
        now = self._clock()
        changes = await asyncio.gather(*(shelf.read(now) for shelf in shelves))
        if any(changes):
            self.generation += 1
            log.info("keys_changed", keys=self.key_count)
