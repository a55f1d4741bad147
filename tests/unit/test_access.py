"""Which tokens are believed."""

import asyncio
import base64
import hashlib
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from quizstream.runtime.access import TokenInvalid, TokenVerifier, bearer_token, issue_token, open_keyring
from quizstream.runtime.keys import (
    MAX_KEY_SET_BYTES,
    RETRY_SECONDS,
    WAIT_FOR_KEYS_SECONDS,
    Key,
    KeyAddress,
    KeyFile,
    Keyring,
    KeySource,
    KeysUnavailable,
    SecretKey,
    parse_keys,
)
from quizstream.runtime.settings import AccessSettings, SettingsError

SECRET = "a secret of tests that has 32 bytes"
NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


class HandClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class FakeSource:
    """Keys that change, or cannot be had, as the test says."""

    refresh_seconds = 300.0

    def __init__(self, keys: Sequence[Key] | None) -> None:
        self.keys = keys
        self.readings = 0

    async def read(self) -> Sequence[Key]:
        self.readings += 1
        await asyncio.sleep(0)
        if self.keys is None:
            raise KeysUnavailable
        return self.keys


class SilentSource(FakeSource):
    """Keys behind an address that does not answer yet."""

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__(keys)
        self.answers = asyncio.Event()

    async def read(self) -> Sequence[Key]:
        keys = await super().read()
        await self.answers.wait()
        return keys


class World:
    """A verifier with its clock and its keys."""

    def __init__(
        self,
        *sources: KeySource,
        issuer: str | None = None,
        audience: str | None = None,
        wait_seconds: float = WAIT_FOR_KEYS_SECONDS,
    ) -> None:
        self.clock = HandClock()
        self.keyring = Keyring(sources, clock=self.clock, wait_seconds=wait_seconds)
        self.converted = 0
        self.verifier = TokenVerifier(self.keyring, self.convert, issuer=issuer, audience=audience, clock=self.clock)

    def convert(self, claims: Mapping[str, object]) -> Mapping[str, object]:
        self.converted += 1
        return claims

    async def verify(self, token: str) -> Mapping[str, object]:
        return await self.verifier.verify(token)

    async def refused(self, token: str) -> str:
        with pytest.raises(TokenInvalid) as caught:
            await self.verify(token)
        return caught.value.code


async def world(*sources: KeySource, issuer: str | None = None, audience: str | None = None) -> World:
    made = World(*(sources or (SecretKey(SECRET),)), issuer=issuer, audience=audience)
    await made.keyring.refresh()
    return made


def claims(**more: object) -> dict[str, object]:
    return {"sub": "7", "exp": NOW + 3600, **more}


def signed(key: object = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: object) -> str:
    headers = None if kid is None else {"kid": kid}
    assert isinstance(key, str | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


def handmade(header: Mapping[str, object], payload: bytes, secret: bytes) -> str:
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), payload)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def rsa_key(kid: str | None, private: rsa.RSAPrivateKey = RSA) -> Key:
    return Key(kid, "RS256", private.public_key())


def key_set(*members: Mapping[str, object]) -> bytes:
    return json.dumps({"keys": members}).encode()


def rsa_jwk(**more: object) -> dict[str, object]:
    return {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "r", **more}


def ec_jwk() -> dict[str, object]:
    return dict(ECAlgorithm.to_jwk(EC.public_key(), as_dict=True))


def ed_jwk() -> dict[str, object]:
    return dict(OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True))


async def test_an_issued_token_is_believed() -> None:
    there = await world()
    token = issue_token(SECRET, {"sub": "7", "scope": "s"}, 60, clock=there.clock)
    assert await there.verify(token) == {"sub": "7", "scope": "s", "iat": NOW, "exp": NOW + 60}


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
async def test_each_type_of_key_verifies_its_algorithm(key: object, algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(rsa_jwk(), ec_jwk(), ed_jwk()))
    there = await world(KeyFile(path))
    assert (await there.verify(signed(key, algorithm)))["sub"] == "7"


async def test_an_unsigned_token_is_refused() -> None:
    there = await world()
    token = jwt.encode(claims(), "", algorithm="none")
    assert await there.refused(token) == "token_algorithm"


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    there = await world(FakeSource([rsa_key("r")]))
    forged = handmade({"alg": "HS256", "kid": "r"}, json.dumps(claims()).encode(), pem)
    assert await there.refused(forged) == "token_signature"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_other_algorithms_of_a_fitting_key_are_refused(algorithm: str) -> None:
    assert await (await world()).refused(signed(SECRET * 2, algorithm)) == "token_algorithm"


async def test_keys_that_a_token_brings_along_are_ignored() -> None:
    jwk = dict(RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True))
    headers = {"jwk": jwk, "jku": "https://evil.example/k", "x5u": "https://evil.example/c", "x5c": ["AA"], "kid": "r"}
    forged = jwt.encode(claims(), OTHER_RSA, algorithm="RS256", headers=headers)
    assert await (await world(FakeSource([rsa_key("r")]))).refused(forged) == "token_signature"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "....", "é.é.é", "x" * 20_000])
async def test_what_is_no_token_is_refused(token: str) -> None:
    assert await (await world()).refused(token) == "token_malformed"


@pytest.mark.parametrize("payload", [b"[]", b"not json", b'{"exp":"soon"}', b'{"exp":true}', b'{"exp":1e999}'])
async def test_a_signed_payload_that_makes_no_sense_is_refused(payload: bytes) -> None:
    token = handmade({"alg": "HS256"}, payload, SECRET.encode())
    assert await (await world()).refused(token) == "token_malformed"


async def test_an_expiry_of_any_size_is_no_error_of_ours() -> None:
    token = handmade({"alg": "HS256"}, b'{"exp":1' + b"0" * 400 + b"}", SECRET.encode())
    assert await (await world()).refused(token) == "token_malformed"


async def test_an_expiry_is_required() -> None:
    token = jwt.encode({"sub": "7"}, SECRET, algorithm="HS256")
    assert await (await world()).refused(token) == "token_without_expiry"


async def test_clocks_may_differ_by_a_minute() -> None:
    there = await world()
    assert await there.verify(signed(exp=NOW - 59))
    assert await there.refused(signed(exp=NOW - 60)) == "token_expired"
    assert await there.verify(signed(nbf=NOW + 60, iat=NOW + 60))
    assert await there.refused(signed(nbf=NOW + 61)) == "token_not_yet_valid"
    assert await there.refused(signed(iat=NOW + 61)) == "token_not_yet_valid"


async def test_issuer_and_audience_count_when_configured() -> None:
    there = await world(issuer="https://canvas.example.edu", audience="quizstream")
    issuer, audience = "https://canvas.example.edu", ["x", "quizstream"]
    assert await there.verify(signed(iss=issuer, aud=audience))
    assert await there.verify(signed(iss=issuer, aud="quizstream"))
    assert await there.refused(signed(iss="other", aud=audience)) == "token_issuer"
    assert await there.refused(signed(aud=audience)) == "token_issuer"
    assert await there.refused(signed(iss=issuer, aud="other")) == "token_audience"
    assert await there.refused(signed(iss=issuer)) == "token_audience"


async def test_an_audience_does_not_matter_when_none_is_configured() -> None:
    assert await (await world()).verify(signed(aud="somebody"))


async def test_several_keys_are_told_apart_by_name_and_tried_without() -> None:
    there = await world(FakeSource([rsa_key("old", OTHER_RSA), rsa_key("new", RSA)]))
    assert await there.verify(signed(RSA, "RS256", kid="new"))
    assert await there.verify(signed(RSA, "RS256"))
    assert await there.refused(signed(RSA, "RS256", kid="old")) == "token_signature"


async def test_a_verified_token_is_kept_for_five_minutes() -> None:
    there = await world()
    token = signed()
    assert there.verifier.cached(token) is None
    await there.verify(token)
    there.clock.now += 299
    assert there.verifier.cached(token) == claims()
    there.clock.now += 1
    assert there.verifier.cached(token) is None


async def test_a_token_is_not_kept_beyond_its_expiry() -> None:
    there = await world()
    token = signed(exp=NOW + 10)
    await there.verify(token)
    there.clock.now += 10
    assert there.verifier.cached(token) is None
    there.clock.now += 60
    assert await there.refused(token) == "token_expired"


async def test_kept_tokens_are_not_verified_again() -> None:
    there = await world()
    token = signed()
    await there.verify(token)
    await there.verify(token)
    assert there.converted == 1


async def test_no_more_tokens_are_kept_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quizstream.runtime.access.CACHED_TOKENS", 3)
    there = await world()
    tokens = [signed(sub=str(number)) for number in range(5)]
    for token in tokens:
        await there.verify(token)
    assert [there.verifier.cached(token) is not None for token in tokens] == [False, False, True, True, True]


async def test_what_the_claims_refuse_is_not_kept() -> None:
    def refuse(_: Mapping[str, object]) -> str:
        raise LookupError

    there = await world()
    verifier = TokenVerifier(there.keyring, refuse, clock=there.clock)
    token = signed()
    with pytest.raises(LookupError):
        await verifier.verify(token)
    assert verifier.cached(token) is None


async def test_a_key_that_is_withdrawn_takes_its_tokens_along() -> None:
    source = FakeSource([rsa_key("old")])
    there = await world(source)
    token = signed(RSA, "RS256", kid="old")
    await there.verify(token)
    source.keys = [rsa_key("new", OTHER_RSA)]
    there.clock.now += 300
    await there.keyring.refresh()
    assert await there.refused(signed(RSA, "RS256", kid="old")) == "token_signature"


async def test_an_unchanged_set_of_keys_keeps_verified_tokens() -> None:
    source = FakeSource(parse_keys(key_set(rsa_jwk(), ec_jwk(), ed_jwk())))
    there = await world(source)
    before = there.keyring.generation
    source.keys = parse_keys(key_set(rsa_jwk(), ec_jwk(), ed_jwk()))
    there.clock.now += 300
    await there.keyring.refresh()
    assert (source.readings, there.keyring.generation) == (2, before)


async def test_an_unknown_name_makes_the_keys_be_read_again_at_most_every_thirty_seconds() -> None:
    source = FakeSource([rsa_key("old", OTHER_RSA)])
    there = await world(source)
    source.keys = [rsa_key("old", OTHER_RSA), rsa_key("new")]
    token = signed(RSA, "RS256", kid="new")
    assert await there.refused(token) == "token_signature"
    there.clock.now += RETRY_SECONDS
    assert await there.verify(token)
    for _ in range(3):
        await there.refused(signed(OTHER_RSA, "RS256", kid="unknown"))
    assert source.readings == 2


async def test_tokens_at_the_same_time_share_one_reading() -> None:
    source = FakeSource([rsa_key("old", OTHER_RSA)])
    there = await world(source)
    there.clock.now += RETRY_SECONDS
    source.keys = [rsa_key("new")]
    tokens = [signed(RSA, "RS256", kid="new", sub=str(number)) for number in range(5)]
    await asyncio.gather(*map(there.verify, tokens))
    assert source.readings == 2


async def test_nobody_waits_for_a_source_that_does_not_answer_longer_than_an_answer_may_take() -> None:
    source = SilentSource([rsa_key("new")])
    there = World(source, wait_seconds=0.05)
    token = signed(RSA, "RS256", kid="new")
    for _ in range(2):
        async with asyncio.timeout(1):
            with pytest.raises(KeysUnavailable):
                await there.verify(token)
    source.answers.set()
    assert await there.verify(token)
    assert source.readings == 1


async def test_known_keys_go_on_while_their_source_is_unreachable() -> None:
    source = FakeSource([rsa_key("r")])
    there = await world(source)
    source.keys = None
    there.clock.now += 300
    await there.keyring.refresh()
    assert await there.verify(signed(RSA, "RS256", kid="r"))
    assert await there.refused(signed(OTHER_RSA, "RS256", kid="r")) == "token_signature"
    assert not there.keyring.complete


@pytest.mark.parametrize("kid", ["r", None])
async def test_a_token_is_not_blamed_for_keys_that_cannot_be_had(kid: str | None) -> None:
    source = FakeSource(None)
    there = await world(SecretKey(SECRET), source)
    with pytest.raises(KeysUnavailable):
        await there.verify(signed(RSA, "RS256", kid=kid))
    assert await there.verify(signed())
    source.keys = [rsa_key("r")]
    there.clock.now += RETRY_SECONDS
    assert await there.verify(signed(RSA, "RS256", kid=kid))


@pytest.mark.parametrize(
    "member",
    [
        rsa_jwk(use="enc"),
        rsa_jwk(alg="PS256"),
        rsa_jwk(n="AQAB"),
        {**ec_jwk(), "crv": "P-384"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()},
        dict(RSAAlgorithm.to_jwk(RSA, as_dict=True)),
        {"kty": ["RSA"]},
        {},
    ],
)
def test_keys_that_must_not_be_used_are_left_out(member: dict[str, object]) -> None:
    assert [key.kid for key in parse_keys(key_set(member, rsa_jwk(kid="good")))] == ["good"]
    with pytest.raises(KeysUnavailable):
        parse_keys(key_set(member))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1,null]}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_holds_no_keys(content: bytes) -> None:
    with pytest.raises(KeysUnavailable):
        parse_keys(content)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_pem_blocks_are_keys_without_names(form: PublicFormat) -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, form)
    pem += ED.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert [(key.kid, key.algorithm) for key in parse_keys(b"# ours\n" + pem)] == [(None, "RS256"), (None, "EdDSA")]


async def test_a_file_that_changes_is_read_again_and_one_that_vanishes_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(rsa_jwk(kid="old")))
    there = await world(KeyFile(path))
    path.write_bytes(key_set(rsa_jwk(kid="new")))
    there.clock.now += KeyFile.refresh_seconds
    await there.keyring.refresh()
    assert there.keyring.knows("new")
    path.unlink()
    there.clock.now += KeyFile.refresh_seconds
    await there.keyring.refresh()
    assert there.keyring.knows("new")


async def served(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> TestServer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/jwks", answer)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_keys_are_fetched_from_an_address() -> None:
    server = await served(key_set(rsa_jwk()))
    keys = await KeyAddress(str(server.make_url("/jwks"))).read()
    await server.close()
    assert [key.kid for key in keys] == ["r"]


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (key_set(rsa_jwk()), 500, None),
        (key_set(rsa_jwk()), 302, {"Location": "/jwks"}),
        (key_set(rsa_jwk()) + b" " * MAX_KEY_SET_BYTES, 200, None),
        (b"<html>", 200, None),
    ],
)
async def test_an_answer_that_is_no_bounded_key_set_is_none(
    body: bytes, status: int, headers: Mapping[str, str] | None
) -> None:
    server = await served(body, status, headers)
    with pytest.raises(KeysUnavailable):
        await KeyAddress(str(server.make_url("/jwks"))).read()
    await server.close()


async def test_an_address_where_nobody_answers_gives_no_keys() -> None:
    server = await served(b"")
    url = str(server.make_url("/jwks"))
    await server.close()
    with pytest.raises(KeysUnavailable):
        await KeyAddress(url).read()


async def test_the_start_is_refused_without_any_key() -> None:
    with pytest.raises(SettingsError, match="QUIZSTREAM_JWT_SECRET"):
        await open_keyring(AccessSettings())


async def test_the_start_is_refused_when_the_file_holds_no_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="QUIZSTREAM_JWKS_FILE"):
        await open_keyring(AccessSettings(jwks_file=str(tmp_path / "none")))


async def test_a_process_starts_while_its_address_is_unreachable() -> None:
    server = await served(b"")
    url = str(server.make_url("/jwks"))
    await server.close()
    keyring = await open_keyring(AccessSettings(jwks_url=url, jwt_secret=SecretStr(SECRET)))
    assert (keyring.key_count, keyring.complete) == (1, False)


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer a.b.c", "a.b.c"), ("bearer a.b.c", "a.b.c"), ("Basic eDp5", None), (None, None)]
)
def test_the_header_names_the_token(header: str | None, token: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert bearer_token(make_mocked_request("GET", "/", headers)) == token


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer  a.b.c", "Bearer a b", "Bearer\ta.b.c", "Bearer a,b"])
def test_a_bearer_header_without_a_token_after_one_blank_is_refused(header: str) -> None:
    request = make_mocked_request("GET", "/", {"Authorization": header})
    if header.startswith("Bearer\t"):
        assert bearer_token(request) is None
    else:
        with pytest.raises(TokenInvalid):
            bearer_token(request)


def test_an_issued_token_lasts_as_long_as_asked() -> None:
    token = issue_token(SECRET, {}, 1.5, clock=lambda: NOW + 0.7)
    decoded: object = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_iat": False})
    assert decoded == {"iat": math.floor(NOW), "exp": math.floor(NOW) + 2}
