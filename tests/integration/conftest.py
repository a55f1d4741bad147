"""A worker's settings with topics of its own, and a look into its store."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr
from tests.topics import PARTITIONS, make_topics

from quizstream.worker.settings import WorkerSettings


@pytest.fixture
async def settings(kafka_bootstrap_servers: str, database_url: str, topic_name: str) -> WorkerSettings:
    await make_topics(kafka_bootstrap_servers, topic_name)
    return WorkerSettings(
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        database_url=SecretStr(database_url),
        topic=topic_name,
        partitions=PARTITIONS,
        consumer_group=f"{topic_name}-worker",
        admin_port=0,
    )


@pytest.fixture
async def session(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
