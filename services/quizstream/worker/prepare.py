"""What must be there before the processes start: the schema, the months ahead and the topics."""

from typing import Final, NamedTuple

import structlog

from quizstream.contracts.topics import planned_topics, quarantine_topic
from quizstream.runtime.kafka import TopicShape, ensure_topics
from quizstream.runtime.kafka_access import kafka_access
from quizstream.runtime.postgres import connection, load_statements
from quizstream.runtime.settings import KafkaSettings, PostgresSettings
from quizstream.worker.migrate import migrate
from quizstream.worker.rights import missing_roles
from quizstream.worker.store import PARTITIONS_PER_ID

log: Final = structlog.get_logger(__name__)

_SQL: Final = load_statements("quizstream.worker", "sql/store.sql")


class PrepareSettings(KafkaSettings, PostgresSettings):
    """`migrate` prepares the store and the topics."""


class Prepared(NamedTuple):
    """What was done: the migrations applied and the topics made; and the roles that could not be made."""

    migrations: list[str]
    topics: list[str]
    missing_roles: list[str]


async def prepare(settings: PrepareSettings, *, topics: bool = True) -> Prepared:
    """Bring the store to this version and make the topics that are missing. Safe to repeat.

    Raises:
        OSError, asyncpg.PostgresError: PostgreSQL cannot be reached, or refuses.
        KafkaFailure: Kafka cannot be reached, or refuses.

    """
    database_url = settings.database_url.get_secret_value()
    migrations = await migrate(database_url)
    async with connection(database_url, application_name="quizstream-migrate") as session:
        missing = await missing_roles(session)
    planned = [
        TopicShape(*topic)
        for topic in planned_topics(
            settings.topic, settings.partitions, allow_single_replica=settings.allow_single_replica
        )
    ]
    return Prepared(migrations, await ensure_topics(kafka_access(settings), planned) if topics else [], missing)


async def adopt_topic(settings: PrepareSettings) -> int:
    """Let the store begin at the start of topics made anew; give the base of their ids, above all that there are.

    Workers must not run meanwhile. What the old topics held and the store had not taken is lost: that was so when
    they were deleted.

    Raises:
        OSError, asyncpg.PostgresError: PostgreSQL cannot be reached, or refuses.

    """
    async with (
        connection(settings.database_url.get_secret_value(), application_name="quizstream-migrate") as session,
        session.transaction(),
    ):
        largest = await session.fetchval(_SQL["largest_id"])
        base = (largest // PARTITIONS_PER_ID + 1) * PARTITIONS_PER_ID
        await session.execute(_SQL["adopt_topic"], [settings.topic, quarantine_topic(settings.topic)], base)
        return int(base)
