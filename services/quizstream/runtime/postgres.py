"""PostgreSQL: connections with bounded waits, and statements from files."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final, NamedTuple, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# What a driver raises when the server cannot be reached, went away or did not answer in time.
# `InternalClientError`: the server ended an idle session, and asyncpg took its last words for a mistake of its own.
UNREACHABLE: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
)

_NAMED: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load_statements(package: str, file_name: str) -> Mapping[str, str]:
    """Read the named statements of an SQL file inside a package.

    Each begins with a line `-- name: NAME`; the comment lines after it say what the statement is for.
    """
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    parts = _NAMED.split(text)[1:]
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def _server_settings(
    application_name: str, statement_timeout_seconds: float, lock_timeout_seconds: float
) -> dict[str, str]:
    return _kept_by_poolers(application_name) | _bounds(statement_timeout_seconds, lock_timeout_seconds)


def _kept_by_poolers(application_name: str) -> dict[str, str]:
    """Give the settings that PgBouncer carries over to whichever session serves a client; others it refuses."""
    return {"application_name": application_name, "timezone": "UTC"}


def _bounds(statement_timeout_seconds: float, lock_timeout_seconds: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}",
        "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{statement_timeout_seconds * 1000:.0f}",
    }


@asynccontextmanager
async def connection(
    database_url: str,
    *,
    application_name: str,
    connect_timeout_seconds: float = 5,
    statement_timeout_seconds: float = 30,
    lock_timeout_seconds: float = 5,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Open one connection, whose statements and waits for locks end in bounded time; it is closed on the way out.

    Raises:
        OSError, asyncpg.PostgresError: the server cannot be reached or refuses the connection.

    """
    opened = await asyncpg.connect(
        database_url,
        timeout=connect_timeout_seconds,
        server_settings=_server_settings(application_name, statement_timeout_seconds, lock_timeout_seconds),
    )
    try:
        yield opened
    finally:
        try:
            await opened.close(timeout=connect_timeout_seconds)
        except (TimeoutError, *UNREACHABLE):
            opened.terminate()


def explain(error: BaseException) -> str | None:
    """Say what about our settings makes a connection fail for good; None where time may heal it. Quotes nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        if error.verify_code in {62, 64}:
            return "the server shows a certificate for another host name"
        return "the server shows a certificate that `sslrootcert` of the URL does not vouch for"
    if isinstance(error, ssl.SSLError):
        return "no TLS can be agreed upon with the server, or a certificate file of the URL is none"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "the server refuses the user, its password or its certificate"
    if isinstance(error, asyncpg.ClientConfigurationError):
        return "the URL has a parameter that cannot be used, or names no readable certificate file"
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        return "a pooler in between refuses what a session needs: the reader takes QUIZSTREAM_STATEMENT_CACHE_SIZE=0"
    if type(error) is ConnectionError and "SSL" in str(error):
        return "the server speaks no TLS"
    return None


async def refusal(
    database_url: str, connect_timeout_seconds: float = 5, server_settings: Mapping[str, str] | None = None
) -> str | None:
    """Say why a server will not have us, whatever time passes; None where it does, or does not answer."""
    try:
        opened = await asyncpg.connect(
            database_url, timeout=connect_timeout_seconds, server_settings=dict(server_settings or {})
        )
    except (FileNotFoundError, PermissionError):  # of a certificate, unless the server is reached by a socket file
        return "the URL names a certificate file that cannot be read" if "ssl" in database_url else None
    except (TimeoutError, asyncpg.PostgresError, *UNREACHABLE) as error:
        return explain(error)
    opened.terminate()
    return None


class PoolTerms(NamedTuple):
    """How a pool of connections that only read behaves.

    With a `statement_cache_size` of 0 it works behind a pooler that gives each transaction another session (PgBouncer's
    `pool_mode = transaction`): nothing is prepared, nothing is kept in the session, and `reading` opens a transaction
    with the bounds that else come with the session. `session_settings` are parameters of PostgreSQL for statements that
    are prepared.
    """

    application_name: str
    max_size: int
    timeout_seconds: float = 3.0
    statement_cache_size: int = 100
    session_settings: Mapping[str, str] = {}

    @property
    def pooled(self) -> bool:
        """Whether sessions are shared with others."""
        return self.statement_cache_size == 0

    @property
    def server_settings(self) -> dict[str, str]:
        """What is asked for as a session begins."""
        kept = _kept_by_poolers(self.application_name)
        return kept if self.pooled else kept | self._session

    @property
    def _session(self) -> dict[str, str]:
        bounds = _bounds(self.timeout_seconds, self.timeout_seconds)
        return {**bounds, "default_transaction_read_only": "on", **self.session_settings}

    @property
    def begin(self) -> str:
        """The statements that begin a transaction of a shared session."""
        bounds = _bounds(self.timeout_seconds, self.timeout_seconds)
        return "; ".join(["BEGIN READ ONLY", *(f"SET LOCAL {name} = {value}" for name, value in bounds.items())])


class ReadPool:
    """Connections that only read."""

    def __init__(self, connections: Pool, terms: PoolTerms) -> None:
        self._connections = connections
        self._terms = terms

    @asynccontextmanager
    async def connection(self, acquire_timeout_seconds: float) -> AsyncIterator[Connection]:
        """Give a connection; behind a pooler with a transaction: all statements meet the same session, with bounds.

        Raises:
            TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError: there is none.

        """
        async with self._connections.acquire(timeout=acquire_timeout_seconds) as connection:
            if not self._terms.pooled:
                yield connection
                return
            await connection.execute(self._terms.begin)
            try:
                yield connection
            except BaseException:
                connection.terminate()  # quicker than to find out what state it is in
                raise
            await connection.execute("COMMIT")


async def _keep_session(_: Connection) -> None:
    return


@asynccontextmanager
async def read_pool(database_url: str, terms: PoolTerms) -> AsyncIterator[ReadPool]:
    """Open a pool; it opens without a server, and each use of it shows whether there is one.

    Connections are given back as they are, which saves a statement each time: users keep no state in the session but
    what the terms give all of them.
    """
    opened = asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=terms.max_size,
        timeout=terms.timeout_seconds,
        statement_cache_size=terms.statement_cache_size,
        reset=_keep_session,
        server_settings=terms.server_settings,
    )
    try:
        await opened
        yield ReadPool(opened, terms)
    finally:
        opened.terminate()
