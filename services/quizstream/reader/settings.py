"""Settings of the reader."""

from typing import Annotated

from pydantic import Field

from quizstream.contracts.limits import DEFAULT_PER_PAGE, MAX_PER_PAGE
from quizstream.runtime.settings import (
    AccessSettings,
    HttpSettings,
    PostgresAddress,
    PostgresSettings,
    ProcessSettings,
)


class ReaderSettings(ProcessSettings, HttpSettings, AccessSettings, PostgresSettings):
    """The reader answers GET from the store."""

    default_per_page: Annotated[int, Field(ge=1, le=MAX_PER_PAGE)] = Field(
        default=DEFAULT_PER_PAGE, description="Events of a page when the request does not say."
    )
    max_per_page: Annotated[int, Field(ge=1, le=MAX_PER_PAGE)] = Field(
        default=MAX_PER_PAGE, description="Most events of a page; more is clamped."
    )
    # Two statements of some milliseconds a page: eight connections serve thousands of pages a second.
    read_connections: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=8, description="Most connections of a reader to the store."
    )
    # With half of it again for giving a stuck connection back: 3.75 s, below the promised 5.
    read_timeout_seconds: Annotated[float, Field(gt=0, le=3)] = Field(
        default=2.5, description="Longest time for one round of reading, waiting for a connection included."
    )
    # A round has 4 MiB, or one event of up to 16: 128 answers hold 512 MiB when all their clients stall.
    max_open_answers: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=128, description="Most answers that are read and sent at the same time; each holds up to 4 MiB."
    )
    read_database_url: PostgresAddress | None = Field(
        default=None,
        description="PostgreSQL connection URI of a replica to read from while it is fresh;"
        " unset: `QUIZSTREAM_DATABASE_URL`, which is also read where it is not.",
    )
    # Replicas are milliseconds behind; a failover takes some ten seconds, in which reading should go on.
    read_staleness_seconds: Annotated[float, Field(ge=2, le=3_600)] = Field(
        default=15.0, description="How far a replica may be behind; also how long it serves while the primary is away."
    )
    # What it costs behind a pooler: two more round trips a reading, and planning.
    statement_cache_size: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=100,
        description="Prepared statements of a connection; 0 behind a pooler that shares sessions between transactions.",
    )
