"""Settings of the worker."""

from pydantic import Field

from quizstream.runtime.settings import KafkaSettings, PostgresAddress, PostgresSettings, ProcessSettings


class WorkerSettings(ProcessSettings, KafkaSettings, PostgresSettings):
    """The worker reads the topics and writes the store."""

    consumer_group: str = Field(
        default="quizstream-worker", min_length=1, description="Kafka consumer group of the workers."
    )
    consumer_instance: str | None = Field(
        default=None, description="Name of this worker for static membership; unset, each start is a new member."
    )
    flush_rows: int = Field(default=20_000, ge=1, le=100_000, description="Most rows of one transaction.")
    flush_bytes: int = Field(
        default=16 * 2**20,
        ge=2**16,
        description="Most bytes of records of one transaction; a larger record goes alone.",
    )
    flush_after_seconds: float = Field(
        default=0.1, gt=0, le=1, description="Longest time that the first record of a transaction waits for others."
    )
    holder_patience_seconds: float = Field(
        default=1.5, gt=0, le=60, description="After it, another worker that holds our partition's offset is cut off."
    )
    # More than a rebalance takes: a session of 6 s and as much for all members to join. Each quarter of it is a look at
    # log and store, but only while nothing is delivered.
    rejoin_after_seconds: float = Field(
        default=15,
        gt=0,
        le=3600,
        description="A consumer that gets nothing for so long, although the log has more, is replaced.",
    )
    retention_months: int = Field(
        default=0,
        ge=0,
        le=1200,
        description="Whole months, by time of receipt, for which events and quarantine are kept; 0: for ever.",
    )
    retention_database_url: PostgresAddress | None = Field(
        default=None,
        description="The store for retention, by the account that migrates: months are dropped by their owner only;"
        " unset: `QUIZSTREAM_DATABASE_URL`.",
    )


class OperatorSettings(KafkaSettings, PostgresSettings):
    """What the commands of an operator need to reach the store and the topics."""
