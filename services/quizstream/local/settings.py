"""Settings of `quizstream dev`."""

from pathlib import Path

from pydantic import Field

from quizstream.canary.settings import CanarySettings
from quizstream.gateway.settings import GatewaySettings
from quizstream.reader.settings import ReaderSettings
from quizstream.worker.prepare import PrepareSettings
from quizstream.worker.settings import WorkerSettings


class DevSettings(GatewaySettings, ReaderSettings, WorkerSettings, CanarySettings, PrepareSettings):
    """`dev` runs everything in one process; what differs from production says so."""

    data_directory: Path = Field(
        default=Path(".quizstream"), description="`dev`: where Kafka, PostgreSQL, logs and the secret are kept."
    )
    # One broker on one disk: `dev` promises to survive crashes of processes, and no more.
    allow_single_replica: bool = Field(
        default=True, description="Take topics that survive a crash of Kafka, but not the loss of its disk."
    )
    drain_seconds: float = Field(default=0, ge=0, description="No proxy has to notice that `dev` stops.")
    canary_interval_seconds: float = Field(default=30, ge=1, description="A laptop need not know within seconds.")
