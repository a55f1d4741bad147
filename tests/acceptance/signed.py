"""Tokens of every kind that a learning platform, or a forger, may issue; the keys live as long as the run."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.acceptance.system import AUDIENCE, ISSUER

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)

# What the deployment gets to verify tokens with, beside its secret.
PUBLIC_KEYS = b"".join(
    key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in (RSA, EC, ED)
)
RSA_PUBLIC_KEY = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed: object) -> dict[str, object]:
    """Those of somebody who may post and read; a claim that is None is left out."""
    made = {
        "sub": "tester",
        "scope": f"{POST_SCOPE} {GET_SCOPE}",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(time.time()) + 3600,
        **changed,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(
    key: str | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: str,
    headers: Mapping[str, object] | None = None,
    **changed: object,
) -> str:
    """A token signed as it should be."""
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=dict(headers or {}))


def forged(algorithm: str, secret: bytes | None) -> str:
    """A token that says `algorithm` and is signed with HMAC, or not at all: libraries refuse to make these."""
    parts = [_encoded({"alg": algorithm, "typ": "JWT"}), _encoded(claims())]
    if secret is None:
        return f"{'.'.join(parts)}."
    signature = hmac.new(secret, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])


def _encoded(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
