"""The gateway as one would write it first: a pydantic model of the body, and `send_and_wait` for each event.

It has no tokens, limits, metrics, ids or headers of records, and keeps nothing that could not be stored.

    python -m tests.benchmarks.obvious.gateway PORT BOOTSTRAP_SERVERS TOPIC
"""

import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer
from pydantic import AwareDatetime, BaseModel, JsonValue, ValidationError

PRODUCER = web.AppKey("producer", AIOKafkaProducer)
TOPIC = web.AppKey("topic", str)


class Event(BaseModel):
    """An event as it is posted."""

    event_type: str
    client_timestamp: AwareDatetime
    event_data: JsonValue = None


class Body(BaseModel):
    """What is posted."""

    quiz_submission_events: list[Event]


async def submit(request: web.Request) -> web.Response:
    """Publish each event under its submission and answer 204 when the broker has them all."""
    try:
        body = Body.model_validate_json(await request.read())
    except ValidationError:
        return web.json_response({"errors": [{"message": "invalid"}]}, status=400)
    path = request.match_info
    for event in body.quiz_submission_events:
        record = {
            "course_id": path["course_id"],
            "quiz_id": path["quiz_id"],
            "submission_id": path["id"],
            "received_at": datetime.now(UTC).isoformat(),
            **event.model_dump(mode="json"),
        }
        await request.app[PRODUCER].send_and_wait(
            request.app[TOPIC], json.dumps(record).encode(), key=path["id"].encode()
        )
    return web.Response(status=204)


async def _producer(app: web.Application, bootstrap_servers: str) -> AsyncIterator[None]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True) as app[
        PRODUCER
    ]:
        yield


def main() -> None:
    """Serve until the end."""
    port, bootstrap_servers, topic = sys.argv[1:]
    app = web.Application()
    app[TOPIC] = topic
    app.cleanup_ctx.append(lambda made: _producer(made, bootstrap_servers))
    app.router.add_post("/api/v1/courses/{course_id}/quizzes/{quiz_id}/submissions/{id}/events", submit)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
