"""The API over HTTP, as the canary uses it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

import aiohttp
import msgspec
import orjson

from quizstream.canary.flight import Canary, HopFailed

EVENT_TYPE: Final = "canary"
# An answer is promised within 5 s of the last byte of a body.
ANSWER_SECONDS: Final = 6.0

_PATH: Final = "/api/v1/courses/%d/quizzes/%d/submissions/%d/events"


class Addresses(NamedTuple):
    """The beginnings of the two URLs."""

    post_url: str
    get_url: str


class _Event(msgspec.Struct):
    event_data: object


class _Answer(msgspec.Struct):
    quiz_submission_events: list[_Event]


class HttpApi:
    """Each request has a connection of its own, as it shall meet any of the processes behind a load balancer."""

    def __init__(self, session: aiohttp.ClientSession, addresses: Addresses, token: Callable[[], str]) -> None:
        self._session = session
        self._addresses = addresses
        self._token = token

    async def post(self, canary: Canary) -> None:
        """Return after a 204.

        Raises:
            HopFailed: there was another answer, or none in time.

        """
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"event_type": EVENT_TYPE, "client_timestamp": stamp, "event_data": canary.mark}
        body = orjson.dumps({"attempt": canary.attempt, "quiz_submission_events": [event]})
        url = self._addresses.post_url + _PATH % canary.resource
        async with self._asked("POST", url, body) as response:
            _expect(response, 204)

    async def shows(self, canary: Canary) -> bool:
        """Tell whether the log of its attempt has the canary.

        Raises:
            HopFailed: there was another answer than 200, or none in time.

        """
        url = f"{self._addresses.get_url}{_PATH % canary.resource}?attempt={canary.attempt}"
        async with self._asked("GET", url) as response:
            _expect(response, 200)
            body = await response.read()
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.DecodeError:
            raise HopFailed("answer_malformed") from None
        return any(event.event_data == canary.mark for event in answer.quiz_submission_events)

    @asynccontextmanager
    async def _asked(self, method: str, url: str, body: bytes | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HopFailed(type(error).__name__) from error


def _expect(response: aiohttp.ClientResponse, status: int) -> None:
    if response.status != status:
        raise HopFailed(f"status_{response.status}")


@asynccontextmanager
async def open_api(addresses: Addresses, token: Callable[[], str]) -> AsyncIterator[HttpApi]:
    """Give the API at these addresses; `token` gives the one of the next request."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=timeout) as session:
        yield HttpApi(session, addresses, token)
