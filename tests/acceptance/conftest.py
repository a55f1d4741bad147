import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests import background, databases
from tests.acceptance import signed
from tests.acceptance.api import SubmissionLog
from tests.acceptance.system import AUDIENCE, ISSUER, System, running

from quizstream.local import ports

_submissions = itertools.count(1_000)


@pytest.fixture
async def system(
    kafka_bootstrap_servers: str, database_url: str, topic_name: str, tmp_path: Path
) -> AsyncIterator[System]:
    """A deployment of this test alone, whose processes it may kill."""
    async with running(kafka_bootstrap_servers, database_url, topic_name, tmp_path) as started:
        yield started


@pytest.fixture(scope="session")
def page_port() -> int:
    """Where tests may serve a page whose origin, by the name of `localhost`, may call the shared system."""
    return ports.any_free()


@pytest.fixture(scope="session")
def shared_system(
    kafka_bootstrap_servers: str,
    postgres_url: str,
    template_database: str,
    page_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """A deployment for tests that only use it, each with its own `submission`; with all that can be configured."""
    logs = tmp_path_factory.mktemp("shared-system")
    keys = logs / "keys.pem"
    keys.write_bytes(signed.PUBLIC_KEYS)
    settings = {
        "QUIZSTREAM_ALLOWED_ORIGINS": f"http://localhost:{page_port}",
        "QUIZSTREAM_JWKS_FILE": str(keys),
        "QUIZSTREAM_JWT_ISSUER": ISSUER,
        "QUIZSTREAM_JWT_AUDIENCE": AUDIENCE,
        "QUIZSTREAM_FLUSH_AFTER_SECONDS": "0.01",  # hundreds of tests wait for it, one after the other
    }
    with databases.copied(postgres_url, template_database) as database_url:
        topic = databases.unique("shared-topic")
        with background.held_open(running(kafka_bootstrap_servers, database_url, topic, logs, settings)) as started:
            yield started


@pytest.fixture
def submission() -> int:
    """A submission that no other test uses."""
    return next(_submissions)


@pytest.fixture
def own_log(shared_system: System, submission: int) -> SubmissionLog:
    """The log of a submission of this test alone, in the shared system."""
    return SubmissionLog(shared_system, submission)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
