"""A broker that speaks TLS and SASL, and a PostgreSQL with TLS. The one of the Python package is built without it."""

import base64
import json
import os
import pwd
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests import programs
from tests.certificates import HOST, Certificates

from quizstream.local import jars, kafka, ports
from quizstream.local.directories import private
from quizstream.local.postgres import _answers
from quizstream.local.processes import Account, Engine, Program, run_tool

USER = "quizstream"
PASSWORD = "the-password-of-the-secure-tests"
_JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecureKafka:
    """Addresses of one broker: with SASL over TLS, with certificates of clients, and for a test without either."""

    sasl: str
    mutual: str
    plain: str


@asynccontextmanager
async def secure_kafka(directory: Path, certificates: Certificates) -> AsyncIterator[SecureKafka]:
    """Run a broker that takes SCRAM, PLAIN and, unverified, OAUTHBEARER."""
    data, logs = private(directory / "kafka"), private(directory / "logs")
    class_path = await jars.class_path()
    home = kafka._Home(data, logs, ":".join(map(str, class_path)))
    (data / "log4j2.properties").write_text(kafka._LOGGING, "utf-8")
    node, sasl, mutual = kafka.Node(1, ports.any_free(), ports.any_free()), ports.any_free(), ports.any_free()
    told = kafka.server_properties(node, [node], data / "log") + _security(node, sasl, mutual, certificates)
    home.properties.write_text(told, "utf-8")
    user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    format_ = ("kafka.tools.StorageTool", "format", "--cluster-id", kafka.new_cluster_id(), "--config", home.properties)
    await run_tool(home.program("Formatting Kafka's storage", kafka.QUICK_START, (*format_, "--add-scram", user)))
    program = home.program("Kafka", [*kafka.QUICK_START, "-Xmx384m"], ["kafka.Kafka", home.properties])
    engine = Engine(node.address, replace(program, ports=(node.port, sasl, mutual)), kafka._has_started)
    await engine.start()
    try:
        yield SecureKafka(f"{HOST}:{sasl}", f"{HOST}:{mutual}", node.address)
    finally:
        await engine.stop()


def _security(node: kafka.Node, sasl: int, mutual: int, certificates: Certificates) -> str:
    """Lines that come after, and so instead of, those of the plain broker."""
    own = f"CLIENTS://{node.address}"
    settings: Mapping[str, object] = {
        "listeners": f"{own},SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual}"
        f",CONTROLLERS://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"{own},SASL://{HOST}:{sasl},MUTUAL://{HOST}:{mutual}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLERS:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
        "listener.name.sasl.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required"
        f' user_{USER}="{PASSWORD}";',
        "listener.name.sasl.oauthbearer.sasl.jaas.config": f"{_JAAS}.oauthbearer.OAuthBearerLoginModule required"
        ' unsecuredLoginStringClaim_sub="broker";',
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": certificates.server.both,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certificates.authority,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def unsigned_token(lifetime_seconds: float = 600) -> str:
    """A token without a signature (RFC 7515, appendix A.5), which a broker without a validator takes."""
    parts = ({"alg": "none"}, {"sub": USER, "iat": time.time() - 5, "exp": time.time() + lifetime_seconds})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


@asynccontextmanager
async def secure_postgres(directory: Path, certificates: Certificates) -> AsyncIterator[str]:
    """Run a server that takes TLS only; gives its URL, for a superuser, with the host name of the certificate."""
    binaries = Path(programs.require_program("postgres")).parent
    data, account, port = private(directory / "postgres"), _account(), ports.any_free()
    home = Program(
        name="PostgreSQL", command=("",), directory=data, log=directory / "postgres.log", account=account, ports=(port,)
    )
    cluster, password = data / "cluster", data / "password"
    password.write_text(PASSWORD, "ascii")
    _hand_over(data, account)
    words = (f"--pgdata={cluster}", f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync")
    await run_tool(replace(home, command=(str(binaries / "initdb"), "--encoding=UTF8", "--locale=C.UTF-8", *words)))
    for name, source in (("server.crt", certificates.server.certificate), ("server.key", certificates.server.key)):
        shutil.copy(source, cluster / name)
        (cluster / name).chmod(0o600)
        _hand_over(cluster / name, account)
    (cluster / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n", "ascii")
    _hand_over(cluster / "pg_hba.conf", account)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "ssl": "on"}
    command = (str(binaries / "postgres"), "-D", str(cluster), *(f"--{name}={told}" for name, told in settings.items()))
    url = f"postgresql://{USER}:{PASSWORD}@{HOST}:{port}/postgres"
    server = replace(home, command=command, directory=cluster, stop_signal=signal.SIGINT, death_signal=signal.SIGQUIT)
    engine = Engine(url, server, _answers(f"{url}?sslmode=require"))
    await engine.start()
    try:
        yield url
    finally:
        await engine.stop()


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _hand_over(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.user_id, account.group_id)
