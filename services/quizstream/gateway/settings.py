"""Settings of the gateway."""

from typing import Annotated

from pydantic import Field

from quizstream.contracts.limits import MAX_BODY_BYTES, MAX_BODY_WITH_TOKEN_BYTES
from quizstream.runtime.settings import AccessSettings, HttpSettings, KafkaSettings, ProcessSettings


class GatewaySettings(ProcessSettings, HttpSettings, AccessSettings, KafkaSettings):
    """The gateway takes events by HTTP and publishes them."""

    recognise_redelivery: bool = Field(
        default=True, description="Give equal events equal ids, so that what is sent again is stored once."
    )
    # A page keeps its backlog in localStorage: 5 * 2^20 UTF-16 units of at most 3 bytes of UTF-8 each are 15 MiB, and
    # what is refused would be sent again for ever. More would not fit into a record of the topic.
    max_body_bytes: Annotated[int, Field(ge=MAX_BODY_WITH_TOKEN_BYTES, le=MAX_BODY_BYTES)] = Field(
        default=MAX_BODY_BYTES, description="Largest body, decompressed."
    )
    # The promise is 5 s after the last byte of the body; parsing on a busy machine and the answer take some of it.
    publish_deadline_seconds: Annotated[float, Field(gt=0, le=4.9)] = Field(
        default=4.0, description="Time from the last byte of a body to its acknowledgement; after it the answer is 503."
    )
    # Room for a full backlog: a body of 16 MiB, or its 50,000 elements as records of some 900 bytes. An eighth of it is
    # what one submission may have in flight in several requests.
    inflight_bytes: Annotated[int, Field(ge=64 * 2**20)] = Field(
        default=256 * 2**20,
        description="Bytes of bodies and records in flight, beyond which the answer is 503 at once.",
    )
    kafka_patience_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        default=60.0, description="How long the start waits for Kafka before it gives up."
    )
