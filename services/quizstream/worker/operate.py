"""What operators ask of quarantine and retention, from settings to text."""

from contextlib import AbstractAsyncContextManager
from typing import Final
from uuid import UUID

import asyncpg

from quizstream.runtime.kafka import KafkaRefused, producer
from quizstream.runtime.kafka_access import kafka_access
from quizstream.runtime.postgres import connection
from quizstream.runtime.settings import PostgresSettings
from quizstream.worker import quarantine, retention
from quizstream.worker.quarantine import Selection
from quizstream.worker.quarantine_view import columns, details, json_lines, table
from quizstream.worker.replay import Destination, Replayed, Rules, replay
from quizstream.worker.settings import OperatorSettings

# Operators wait for retention rather than give up: a month is searched within `retention.STATEMENT_TIMEOUT_SECONDS`.
PATIENCE_SECONDS: Final = 600.0


class Operator:
    """One command on the store. Each method raises OSError or asyncpg.PostgresError where the store is the problem."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._database_url = settings.database_url.get_secret_value()

    async def list_quarantine(self, selection: Selection, *, as_json: bool) -> str:
        """Give what is in quarantine, without payload, as a table or as lines of JSON."""
        async with self._session() as session:
            rows = await quarantine.find(session, selection)
        return json_lines(rows) if as_json else table(rows)

    async def show(self, quarantine_id: UUID) -> str | None:
        """Give all about one row, payload included; None where there is no such row."""
        async with self._session() as session:
            row = await quarantine.describe(session, quarantine_id)
            raws = await quarantine.payloads(session, [quarantine_id])
        return None if row is None else details(row, raws.get(quarantine_id, b""))

    async def count(self, selection: Selection) -> int:
        """Count what fits."""
        async with self._session() as session:
            return len(await quarantine.find(session, selection))

    async def drop(self, selection: Selection) -> int:
        """Delete what fits, but nothing of held courses; give how many rows went."""
        async with self._session() as session:
            return await quarantine.drop(session, selection)

    async def hold(self, course_id: int, reason: str) -> None:
        """Have nothing more of a course removed once this returns."""
        async with self._session() as session:
            await retention.hold(session, course_id, reason)

    async def release(self, course_id: int) -> bool:
        """Let retention apply to a course again; tell whether it was held."""
        async with self._session() as session:
            return await retention.release(session, course_id)

    async def list_holds(self) -> str:
        """Give the courses that are held, as a table."""
        async with self._session() as session:
            held = await retention.holds(session)
        lines = [[str(one.course_id), one.since.isoformat(timespec="seconds"), one.reason] for one in held]
        return columns([["course", "since", "reason"], *lines])

    def _session(self) -> "AbstractAsyncContextManager[asyncpg.Connection[asyncpg.Record]]":
        return connection(
            self._database_url,
            application_name="quizstream-operator",
            statement_timeout_seconds=PATIENCE_SECONDS,
            lock_timeout_seconds=PATIENCE_SECONDS,
        )


async def send_again(settings: OperatorSettings, selection: Selection, rules: Rules) -> Replayed:
    """Send what fits through the topic again.

    Raises:
        OSError, asyncpg.PostgresError: PostgreSQL cannot be reached, or refuses.
        KafkaFailure: Kafka cannot be reached, or refuses.

    """
    access = kafka_access(settings)
    if reason := await access.refusal():
        raise KafkaRefused(reason)
    async with (
        connection(settings.database_url.get_secret_value(), application_name="quizstream-operator") as session,
        producer(access, client_id="quizstream-operator") as publishing,
    ):
        return await replay(session, selection, rules, Destination(publishing, settings.topic, settings.partitions))
