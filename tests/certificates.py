"""Certificates of a test alone: an authority, and what it vouches for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "localhost"  # and not 127.0.0.1, which so is a wrong host name for the same server


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files; `both` holds one behind the other."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Certificates:
    """An authority, a server's and a client's certificate of it, and an authority that vouches for neither."""

    authority: Path
    server: Pair
    client: Pair
    stranger: Path


def make(directory: Path) -> Certificates:
    key, authority = _authority("authority")
    _, stranger = _authority("stranger")
    for name, certificate in (("authority", authority), ("stranger", stranger)):
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return Certificates(
        directory / "authority.pem",
        _issued(directory, "server", HOST, key, authority),
        _issued(directory, "client", "quizstream", key, authority),
        directory / "stranger.pem",
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, _name(name), key.public_key())
    return key, builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )


def _issued(
    directory: Path, kind: str, subject: str, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(subject)])
    certificate = (
        _builder(subject, authority.subject, key.public_key())
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pair = Pair(*(directory / f"{kind}.{part}.pem" for part in ("certificate", "key", "both")))
    shown = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair.certificate.write_bytes(shown)
    pair.key.write_bytes(secret)
    pair.both.write_bytes(secret + shown)
    return pair
