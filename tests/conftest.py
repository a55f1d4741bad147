"""What every test may use: engines (started once per run, when first needed), a database and a topic name per test."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from tests import background, databases, engines, programs

from quizstream.worker.migrate import migrate

_CHOICE = pytest.StashKey[engines.Choice]()

# How long an example takes is the machine's affair: no unit test is timed.
settings.register_profile("quizstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quizstream")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CHOICE] = engines.Choice()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[_CHOICE].describe()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_CHOICE].describe():
        terminalreporter.write_line(line)
    missing = ", ".join(f"{name} ({count} skipped)" for name, count in sorted(programs.skipped_for.items()))
    terminalreporter.write_line(f"outside programs missing: {missing or 'none that a test asked for'}")


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engines.kafka_server(pytestconfig.stash[_CHOICE], tmp_path_factory.mktemp("kafka")) as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An account that may create databases; tests take `database_url`."""
    with engines.postgres_server(pytestconfig.stash[_CHOICE], tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """A migrated database that nobody is connected to, for `CREATE DATABASE .. TEMPLATE`."""
    with databases.created(postgres_url) as name:
        background.run(migrate(databases.url_of(postgres_url, name)))
        yield name


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated, empty database of this test alone."""
    with databases.copied(postgres_url, template_database) as url:
        yield url


@pytest.fixture
def topic_name() -> str:
    """A name that no other test uses; the product's own code makes the topic."""
    return databases.unique("test")
