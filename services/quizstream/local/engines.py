"""Kafka and PostgreSQL together, for whoever has neither."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quizstream.local import jars, kafka, postgres
from quizstream.local.directories import private
from quizstream.local.processes import Engine


@dataclass(frozen=True, slots=True)
class Engines:
    """Where the two servers answer, and the handles of those that were started here."""

    bootstrap_servers: str
    database_url: str
    started: tuple[Engine, ...]


@asynccontextmanager
async def running(
    data_directory: Path,
    *,
    bootstrap_servers: str | None = None,
    database_url: str | None = None,
    say: jars.Say | None = None,
) -> AsyncIterator[Engines]:
    """Start, side by side, the servers that are not named, and stop them at the end.

    Everything is kept in `data_directory`, closed to other accounts: `kafka`, `postgres`, `logs`. Raises a
    LocalEngineError, and leaves nothing running, when one of them cannot be had.
    """
    data_directory = private(data_directory)
    logs = data_directory / "logs"
    async with AsyncExitStack() as stack:
        broker, server = await asyncio.gather(
            _enter(stack, None if bootstrap_servers else kafka.broker(data_directory / "kafka", logs, say=say)),
            _enter(stack, None if database_url else postgres.server(data_directory / "postgres", logs)),
            return_exceptions=True,  # else the slower one would still be starting when the error is out
        )
        if isinstance(broker, BaseException):
            raise broker
        if isinstance(server, BaseException):
            raise server
        yield _engines(bootstrap_servers, database_url, broker, server)


async def _enter(stack: AsyncExitStack, engine: AbstractAsyncContextManager[Engine] | None) -> Engine | None:
    return None if engine is None else await stack.enter_async_context(engine)


def _engines(
    bootstrap_servers: str | None, database_url: str | None, broker: Engine | None, server: Engine | None
) -> Engines:
    started = tuple(engine for engine in (broker, server) if engine is not None)
    return Engines(
        bootstrap_servers or (broker.address if broker else ""),
        database_url or (server.address if server else ""),
        started,
    )
