"""Settings of the canary."""

from typing import Annotated

from pydantic import Field, SecretStr

from quizstream.runtime.settings import (
    PartitionSettings,
    ProcessSettings,
    PublicAddress,
    PublicSettings,
    SigningSettings,
)


class CanarySettings(ProcessSettings, PublicSettings, SigningSettings, PartitionSettings):
    """The canary posts events of its own and looks for them, as a client does."""

    canary_post_url: PublicAddress | None = Field(
        default=None, description="Where the canary posts; unset: `QUIZSTREAM_PUBLIC_URL`."
    )
    canary_get_url: PublicAddress | None = Field(
        default=None, description="Where the canary reads; unset: `QUIZSTREAM_PUBLIC_URL`."
    )
    canary_token: SecretStr | None = Field(
        default=None, description="Token of the canary; unset, it signs its own with `QUIZSTREAM_JWT_SECRET`."
    )
    # Every partition has its turn once a minute; 17,280 rows a day, which is how long they are kept.
    canary_interval_seconds: Annotated[float, Field(ge=1, le=3_600)] = Field(
        default=5.0, description="Time from one canary to the next; the partitions take turns."
    )
    canary_patience_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=10.0, description="After it, a canary that was taken and cannot be read is lost."
    )
