"""The API as the tables of its contract use it: the log of one submission, written and read over HTTP."""

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg
from tests.acceptance.system import System, path_of, token
from tests.raw_http import Answer, Header, exchange, request
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

JSON: Header = ("Content-Type", "application/json")
TEXT: Header = ("Content-Type", "text/plain;charset=UTF-8")
FORM: Header = ("Content-Type", "application/x-www-form-urlencoded")
MULTIPART: Header = ("Content-Type", 'multipart/form-data; boundary="XX YY"')

STAMP: Final = "2020-03-01T09:30:00.123Z"
EVENT: Final = b'{"event_type":"page_blurred","client_timestamp":"2020-03-01T09:30:00.123Z","event_data":["12"]}'
EVENTS: Final = "quiz_submission_events"


def bearer(*scopes: str, **claims: object) -> Header:
    return ("Authorization", f"Bearer {token(*scopes, **claims)}")


def body_of(*elements: bytes, beside: bytes = b"") -> bytes:
    """The documented body; `beside` are further members, with a comma in front."""
    return b'{"quiz_submission_events":[%b]%b}' % (b",".join(elements), beside)


BODY: Final = body_of(EVENT)


class Shown(NamedTuple):
    """An event as GET shows it, its data as the text that it is."""

    event_type: str
    event_data: bytes = b"null"
    client_timestamp: str | None = None


THE_EVENT: Final = Shown("page_blurred", b'["12"]', STAMP)
_SHOWN: Final = re.compile(
    rb'"event_type":(".*?"),"event_data":(.*?),"created_at":"[^"]*","client_timestamp":(null|".*?")\}', re.DOTALL
)


def encoded(coding: str) -> Header:
    return ("Content-Encoding", coding)


def parts(*fields: tuple[str, str]) -> bytes:
    """A multipart form as a browser writes it."""
    written = (f'--XX YY\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields)
    return "".join([*written, "--XX YY--\r\n"]).encode()


def urlencoded(fields: Sequence[tuple[str, str]]) -> bytes:
    """All that may be escaped is, as canvasapi does it."""
    return b"&".join(b"=".join(map(escaped, field)) for field in fields)


def escaped(text: str) -> bytes:
    written = "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in text.encode())
    return written.replace("%20", "+").encode()


def shown(answer: Answer) -> list[dict[str, object]]:
    """The events of an answer of GET."""
    assert answer.status == 200, answer
    events: list[dict[str, object]] = json.loads(answer.body)["quiz_submission_events"]
    return events


class SubmissionLog(NamedTuple):
    """The log of one submission that no other test uses."""

    system: System
    submission: int

    @property
    def path(self) -> str:
        return path_of(self.submission)

    async def send(self, sent: bytes) -> Answer:
        """Send bytes to the gateway."""
        return await exchange(self.system.gateway.url, sent)

    async def post(
        self,
        body: bytes,
        headers: Sequence[Header] = (JSON,),
        *,
        query: str = "",
        path: str | None = None,
        token: Header | None = None,
    ) -> Answer:
        """Post as one who may. `token` of another caller takes the place of that of this one."""
        sent = [token or bearer(POST_SCOPE), *headers]
        return await self.send(request("POST", (path or self.path) + query, sent, body))

    async def get(
        self,
        query: str = "",
        headers: Sequence[Header] = (),
        *,
        path: str | None = None,
        method: str = "GET",
        token: Header | None = None,
    ) -> Answer:
        """Read as one who may."""
        sent = [token or bearer(GET_SCOPE), *headers]
        return await exchange(self.system.reader.url, request(method, (path or self.path) + query, sent))

    async def read(self, count: int, query: str = "", *, path: str | None = None) -> Answer:
        """The log once it has so many events; more make the test fail."""

        async def complete() -> Answer | None:
            answer = await self.get(query, path=path)
            return answer if len(shown(answer)) >= count else None

        answer = await eventually(complete, 20)
        assert answer is not None
        assert len(shown(answer)) == count, shown(answer)
        return answer

    async def is_empty(self) -> bool:
        """Whether nothing was stored so far: events of a submission keep their order, so one sent now would be last."""
        last = await self.post(body_of(b'{"event_type":"the only one"}'))
        assert last.status == 204, last
        events = shown(await self.read(1))
        return [event["event_type"] for event in events] == ["the only one"]

    async def quarantined(self, count: int) -> Sequence[tuple[int, str, bytes]]:
        """Index, reason and raw value of the elements that were put aside, once there are so many."""
        session = await asyncpg.connect(self.system.worker.environment["QUIZSTREAM_DATABASE_URL"])
        try:

            async def complete() -> Sequence[tuple[int, str, bytes]]:
                rows = await session.fetch(
                    "SELECT element_index, reason, raw FROM quarantined_events WHERE submission_id = $1 "
                    "ORDER BY record_offset",
                    self.submission,
                )
                return [(row["element_index"], row["reason"], row["raw"]) for row in rows] if len(rows) >= count else []

            return await eventually(complete, 20)
        finally:
            await session.close()


async def stored(log: SubmissionLog, count: int) -> list[Shown]:
    answer = await log.read(count, "?include[]=client_timestamp")
    return [Shown(json.loads(kind), data, json.loads(stamp)) for kind, data, stamp in _SHOWN.findall(answer.body)]
