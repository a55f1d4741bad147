"""What the reader is measured against: the log of an attempt as somebody would serve it first, with FastAPI.

    python -m tests.benchmarks.plain_reader dicts|models URL PORT

`dicts` returns the rows as dictionaries, and FastAPI's encoder makes JSON of them; `models` declares a response model,
which pydantic fills and writes. By uvicorn with uvloop and httptools. No token, no `Link`, no validator, no metrics.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, JsonValue

_CONNECTIONS = 8  # as many as the reader has
_ROUTE = "/api/v1/courses/{course_id}/quizzes/{quiz_id}/submissions/{submission_id}/events"
_PAGE = """
    SELECT id, event_type, event_data, occurred_at AS created_at
    FROM quiz_submission_events
    WHERE submission_id = $1 AND course_id = $2 AND quiz_id = $3
        AND attempt = (SELECT latest_attempt FROM submissions WHERE submission_id = $1)
    ORDER BY occurred_at, id
    LIMIT $4 OFFSET $5
"""


class Event(BaseModel):
    """An event in an answer."""

    id: str
    event_type: str
    event_data: JsonValue
    created_at: datetime


class Events(BaseModel):
    """An answer."""

    quiz_submission_events: list[Event]


def create_app(way: str, url: str) -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as app.state.pool:
            yield

    async def events(
        course_id: int, quiz_id: int, submission_id: int, page: int = 1, per_page: int = 100
    ) -> dict[str, list[dict[str, object]]]:
        rows = await app.state.pool.fetch(_PAGE, submission_id, course_id, quiz_id, per_page, (page - 1) * per_page)
        shown = [{**row, "id": str(row["id"]), "event_data": json.loads(row["event_data"])} for row in rows]
        return {"quiz_submission_events": shown}

    app = FastAPI(lifespan=opened)
    app.add_api_route(_ROUTE, events, response_model=Events if way == "models" else None)
    return app


def main(way: str, url: str, port: str) -> None:
    """Serve until the end."""
    uvicorn.run(create_app(way, url), port=int(port), log_level="warning", access_log=False, timeout_keep_alive=75)


if __name__ == "__main__":
    main(*sys.argv[1:])
