"""Students: browsers that capture events, post them in batches, and send again what was not acknowledged."""

import asyncio
import io
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp
from tests.acceptance.system import path_of, token
from tests.faults.ledger import Content, Element, Ledger, Request
from tests.waiting import scaled

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

PATIENCE_SECONDS = 10.0
ANSWERED_WITHIN_SECONDS = 5.0  # of the last byte of the body, which leaves at once: the bodies are small
LARGEST_BACKLOG = 200
START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
_WITHOUT_MARKER = 0.2
_ANSWERS = ('"x"', '"é 漢"', '"\\u0000"', '"\\ud800"', "1e400", "[12345678901234567890123]", "null")


@dataclass(frozen=True)
class Habits:
    """How students behave, as probabilities, and how many they are."""

    students: int = 12
    events_each: int = 400
    largest_batch: int = 12
    longest_pause_seconds: float = 0.5
    loses_the_answer: float = 0.04
    gives_up: float = 0.03
    merges: float = 0.3
    impatient: float = 0.02
    sends_nonsense: float = 0.01
    padding: str = ""
    token: str = ""


class Door(Protocol):
    """Where students post: a gateway, or what stands before one."""

    @property
    def url(self) -> str:
        """The address of the API."""
        ...

    def untouched_since(self, began: float) -> bool:
        """Whether it has to answer a request that began at that time of the monotonic clock."""
        ...


def written(content: Content) -> str:
    """The text of an element as it is sent; `event_data` is never written anew."""
    if content.event_type is None:
        return content.text
    stamp = "" if content.client_timestamp is None else f'"client_timestamp":{json.dumps(content.client_timestamp)},'
    return f'{{"event_type":{json.dumps(content.event_type)},{stamp}"event_data":{content.text}}}'


def body_of(elements: Sequence[Element], attempt: int | None) -> bytes:
    """The body of a request."""
    beside = "" if attempt is None else f'"attempt":{attempt},'
    return f'{{{beside}"quiz_submission_events":[{",".join(written(one.content) for one in elements)}]}}'.encode()


@dataclass
class Composer:
    """Makes the events of one student: most with a marker, a fifth with content that comes again."""

    submission: int
    chance: random.Random
    padding: str = ""  # what each answer holds beside
    _number: int = 0
    _last: Element | None = None

    def compose(self, count: int) -> list[Element]:
        """The next events, in the order in which they are captured; now and then one more than asked for."""
        elements: list[Element] = []
        for _ in range(count):
            elements += self._without_marker() if self.chance.random() < _WITHOUT_MARKER else [self._marked()]
        self._last = elements[-1]
        return elements

    def marked(self, count: int) -> list[Element]:
        """The next events, all sound and told apart by a marker."""
        return [self._marked() for _ in range(count)]

    def unusable(self) -> Element:
        """An element without a type, as a broken page might send it."""
        return Element(Content(self.submission, None, None, f'{{"event_data":{{"marker":"{self._next_marker()}"}}}}'))

    def _next_marker(self) -> str:
        self._number += 1
        return f"{self.submission}-{self._number}"

    def _stamp(self, **shift: int) -> str:
        instant = START + timedelta(milliseconds=17 * self._number) + timedelta(**shift)
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _marked(self) -> Element:
        marker = self._next_marker()
        padding = f',"text":"{self.padding}"' if self.padding else ""
        data = f'{{"marker": "{marker}",  "answer":{_ANSWERS[self._number % len(_ANSWERS)]}{padding}}}'
        kind = self.chance.choice(("page_blurred", "question_viewed", 'odd "type"\x01, \x02\n'))
        return Element(Content(self.submission, kind, self._stamp(), data))

    def _without_marker(self) -> list[Element]:
        kinds = (self._pair, self._again, self._whole_second, self._ahead, self._stampless, self._bad)
        return self.chance.choice(kinds)()

    def _equal(self, stamp: str | None, *, recognised: bool = True) -> Element:
        data = f'{{"choice":{self.chance.randrange(3)}}}'
        return Element(Content(self.submission, "question_answered", stamp, data), marked=False, recognised=recognised)

    def _pair(self) -> list[Element]:
        return 2 * [self._equal(self._stamp())]

    def _again(self) -> list[Element]:
        """The same as the last one of the batch before: over the border of a batch."""
        if self._last is None or self._last.marked:
            return [self._equal(self._stamp())]
        return [self._last]

    def _whole_second(self) -> list[Element]:
        return [self._equal((START + timedelta(seconds=self._number // 50)).isoformat().replace("+00:00", "Z"))]

    def _ahead(self) -> list[Element]:
        """A clock ten minutes ahead, or a year, which is not believed."""
        return [self._equal(self._stamp(minutes=30) if self.chance.random() < 0.5 else self._stamp(days=365))]

    def _stampless(self) -> list[Element]:
        return [self._equal(self.chance.choice((None, "yesterday")), recognised=False)]

    def _bad(self) -> list[Element]:
        return [self.unusable()]


@dataclass
class Student:
    """One submission's page. Every other one names its attempt, and begins a second in the middle.

    `doors` may get more while the student posts; each request goes through one of them, as behind a proxy.
    """

    submission: int
    habits: Habits
    ledger: Ledger
    client: aiohttp.ClientSession
    doors: Sequence[Door]
    chance: random.Random
    worst_answer_seconds: float = 0.0
    differences: list[str] = field(default_factory=list)
    _backlog: list[Element] = field(default_factory=list)
    _last_batch: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.composer = Composer(self.submission, self.chance, self.habits.padding)
        self._attempt: int | None = 1 if self.submission % 2 else None
        bearer = self.habits.token or token(POST_SCOPE)
        self._headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}

    async def take_quiz(self, stopping: asyncio.Event) -> None:
        """Send events until there are enough or the load is stopped, then what is left until it is taken."""
        captured = 0
        while captured < self.habits.events_each and not stopping.is_set():
            self._perhaps_begin_anew(captured)
            fresh = self.composer.compose(self.chance.randint(1, self.habits.largest_batch))
            captured += len(fresh)
            self._backlog += fresh
            await self._deliver(stopping)
            await asyncio.sleep(self.chance.uniform(0, self.habits.longest_pause_seconds))
        deadline = asyncio.get_running_loop().time() + scaled(60)
        while self._backlog:
            assert asyncio.get_running_loop().time() < deadline, "events were not taken for a minute after the faults"
            await self._send_backlog()

    async def post(self, elements: Sequence[Element]) -> Request:
        """Send these, once, and give what became of it."""
        return await self._send(elements)

    def _perhaps_begin_anew(self, captured: int) -> None:
        """The second attempt; the page sends the tail of the first again under it."""
        if self._attempt == 1 and captured > self.habits.events_each / 2:
            self._attempt = 2
            self._backlog = [*self._last_batch, *self._backlog]

    async def _deliver(self, stopping: asyncio.Event) -> None:
        if self.chance.random() < self.habits.sends_nonsense:
            await self._send([self.composer.unusable()], must_be_refused=True)
        while not await self._send_backlog():
            if self.chance.random() < self.habits.gives_up:
                self._backlog = []
                return
            if len(self._backlog) < LARGEST_BACKLOG and self.chance.random() < self.habits.merges:
                return  # the next batch carries these events too
            if stopping.is_set():
                return

    async def _send_backlog(self) -> bool:
        batch = list(self._backlog)
        if not await self._taken(batch):
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            return False
        if self.chance.random() < self.habits.loses_the_answer:
            await self._taken(batch)
        self._backlog, self._last_batch = [], batch
        return True

    async def _taken(self, batch: Sequence[Element]) -> bool:
        if all(element.content.event_type is None for element in batch):
            return (await self._send(batch, must_be_refused=True)).outcome == "refused"
        return (await self._send(batch)).outcome == "acked"

    async def _send(self, elements: Sequence[Element], *, must_be_refused: bool = False) -> Request:
        request = self.ledger.send(elements, self._attempt, must_be_refused=must_be_refused)
        hasty = self.chance.random() < self.habits.impatient
        patience = self.chance.uniform(0.001, 0.02) if hasty else scaled(PATIENCE_SECONDS)
        door = self.chance.choice(self.doors)
        began = time.monotonic()
        try:
            async with self.client.post(
                door.url + path_of(self.submission),
                data=io.BytesIO(body_of(elements, self._attempt)),  # large bodies are sent piece by piece
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=patience),
            ) as answer:
                request.status, request.retry_after = answer.status, answer.headers.get("Retry-After")
                request.quarantined = int(answer.headers.get("Quiz-Events-Quarantined", 0))
                request.code = _code(await answer.read())
        except TimeoutError:
            if not hasty and door.untouched_since(began):
                self.differences.append(f"unanswered: nothing within {patience:g} s from {door.url}")
            return request
        except (aiohttp.ClientError, OSError):
            return request
        request.seconds = time.monotonic() - began
        self._judge(request, excused=not door.untouched_since(began))
        if request.status == 204:
            request.outcome = "acked"
        elif 400 <= (request.status or 0) < 500:
            request.outcome = "refused"
        return request

    def _judge(self, request: Request, *, excused: bool) -> None:
        """Hold an answer against what is promised of each; it may be late where its process was hit: `excused`."""
        if request.status == 503 and not (request.retry_after or "").isdecimal():
            self.differences.append("no Retry-After: a 503 that does not say when to come again")
        if not excused:
            self.worst_answer_seconds = max(self.worst_answer_seconds, request.seconds)
            if request.seconds > scaled(ANSWERED_WITHIN_SECONDS):
                self.differences.append(f"late: {request.status} after {request.seconds:.1f} s")


def _code(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"]) if body else ""


def reading_headers() -> dict[str, str]:
    """The headers of somebody who may read."""
    return {"Authorization": f"Bearer {token(GET_SCOPE)}"}
