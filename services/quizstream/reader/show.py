"""GET: the log of one attempt, page by page."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from quizstream.contracts.access import Grant, check_scope, decide_read_attempt
from quizstream.contracts.errors import TokenRefused, TryLater
from quizstream.reader.entity_tag import entity_tag
from quizstream.reader.links import link_header, pages_of
from quizstream.reader.page_query import PageLimits, PageQuery, parse_page_query
from quizstream.reader.render import EMPTY_ANSWER, frame_round
from quizstream.reader.select import EventStore, Key, PagePlan, Reading, Selection
from quizstream.runtime.access import TokenVerifier
from quizstream.runtime.forwarded import PublicBase
from quizstream.runtime.rate_limit import RateLimits

CONTENT_TYPE: Final = "application/json; charset=utf-8"
CACHE_CONTROL: Final = "private, no-cache"

# A client that does not take 256 KiB (of which the kernel buffers most) within half a minute is gone or hostile.
SLICE_BYTES: Final = 256 * 2**10
SLICE_TIMEOUT_SECONDS: Final = 30.0


class AnswerMeters(NamedTuple):
    """Where answers are counted: by outcome, their events, their bytes."""

    answers: Counter
    events: Histogram
    sent_bytes: Counter


class AnswerLimits(NamedTuple):
    """Events of a page; the longest time before the first byte (but for giving a connection back); open answers."""

    page: PageLimits
    begin_seconds: float
    open_answers: int


class _Begun(NamedTuple):
    """An answer before its first byte. `events` is the first round, None where no body is to be sent."""

    status: int
    headers: Mapping[str, str]
    selection: Selection
    plan: PagePlan
    events: bytes | None
    after: Key


class ShowEvents:
    """Answers GET and HEAD. While a round is sent no connection to the store is held."""

    def __init__(
        self,
        store: EventStore,
        verifier: TokenVerifier[Grant],
        rates: RateLimits,
        base: PublicBase,
        limits: AnswerLimits,
        meters: AnswerMeters,
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._rates = rates
        self._base = base
        self._limits = limits
        self._room = asyncio.Semaphore(limits.open_answers)
        self._meters = meters

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page; an answer that cannot be finished ends with a broken connection, never as whole JSON.

        Raises:
            Refusal: before the first byte: see `contracts.errors`; `TryLater` after it, which breaks the connection.

        """
        async with self._place():
            begun = await self._begin(request)
            response = web.StreamResponse(status=begun.status, headers=begun.headers)
            if begun.events is None:
                self._count("not_modified" if begun.status == 304 else "complete")
                return response
            await self._send(request, response, begun, begun.events)
            return response

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._room.locked():
            raise TryLater("busy", "Too many logs are being read.")
        async with self._room:
            yield

    async def _begin(self, request: web.Request) -> _Begun:
        try:
            async with asyncio.timeout(self._limits.begin_seconds):
                query, selection = await self._select(request)
                async with self._store.reading() as reading:
                    return await self._read(request, query, selection, reading)
        except TimeoutError as error:
            raise TryLater("store_unavailable", "The store does not answer.") from error

    async def _select(self, request: web.Request) -> tuple[PageQuery, Selection]:
        token = self._verifier.bearer_token(request) or _token_in_query(request)
        grant = await self._verifier.verify(token)
        check_scope(grant, "GET")
        path = request.match_info
        resource = grant.resolve(path["course_id"], path["quiz_id"], path["id"])
        if not grant.is_canary:  # it asks until its event is there
            self._rates.check(token, resource.submission_id)
        query = parse_page_query(request.query.items(), self._limits.page)
        attempt = decide_read_attempt(grant, query.attempt)
        return query, Selection(resource, attempt, query.as_of, query.page, query.per_page, query.included)

    async def _read(self, request: web.Request, query: PageQuery, selection: Selection, reading: Reading) -> _Begun:
        short = await reading.short_log(selection) if _wants_body(request) else None
        plan = short[0] if short else await reading.plan(selection)
        tag = entity_tag(selection, plan)
        headers: dict[str, str] = {
            hdrs.CACHE_CONTROL: CACHE_CONTROL,
            hdrs.ETAG: f'W/"{tag}"',
            hdrs.LINK: self._links(request, query, plan),
            hdrs.CONTENT_TYPE: CONTENT_TYPE,
        }
        if _has(request, tag):
            return _Begun(304, headers, selection, plan, None, plan.after)
        if request.method == hdrs.METH_HEAD:
            return _Begun(200, headers, selection, plan, None, plan.after)
        if short:
            return _Begun(200, headers, selection, plan, short[1], plan.after)
        if not plan.rounds:
            return _Begun(200, headers, selection, plan, b"", plan.after)
        events, after = await reading.render(selection, plan, plan.rounds[0], plan.after)
        return _Begun(200, headers, selection, plan, events, after)

    def _links(self, request: web.Request, query: PageQuery, plan: PagePlan) -> str:
        """Give links that go on showing this attempt up to this event, whatever arrives meanwhile."""
        parameters = list(query.kept)
        if plan.attempt is not None:
            parameters.append(("attempt", str(plan.attempt)))
        as_of = query.as_of if plan.last_id is None else plan.last_id
        if as_of is not None:
            parameters.append(("as_of", str(as_of)))
        url = f"{self._base.of(request)}{request.rel_url.raw_path}"
        return link_header(url, parameters, pages_of(query.page, query.per_page, plan.events_in_log))

    async def _send(self, request: web.Request, response: web.StreamResponse, begun: _Begun, events: bytes) -> None:
        outcome = "broken"
        try:
            last = len(begun.plan.rounds) <= 1
            part = frame_round(events, first=True, last=last) if events else EMPTY_ANSWER
            if last:
                response.content_length = len(part)
            await response.prepare(request)
            await self._write(response, part)
            await self._send_later_rounds(response, begun)
            outcome = "complete"
        finally:
            self._count(outcome)
        self._meters.events.observe(begun.plan.events)

    async def _send_later_rounds(self, response: web.StreamResponse, begun: _Begun) -> None:
        after, rounds = begun.after, begun.plan.rounds
        for number, round_ in enumerate(rounds[1:], 2):
            async with self._store.reading() as reading:
                events, after = await reading.render(begun.selection, begun.plan, round_, after)
            await self._write(response, frame_round(events, first=False, last=number == len(rounds)))

    async def _write(self, response: web.StreamResponse, part: bytes) -> None:
        view = memoryview(part)
        for start in range(0, len(part), SLICE_BYTES):
            async with asyncio.timeout(SLICE_TIMEOUT_SECONDS):
                await response.write(view[start : start + SLICE_BYTES])
        self._meters.sent_bytes.inc(len(part))

    def _count(self, outcome: str) -> None:
        self._meters.answers.labels(outcome).inc()


def _token_in_query(request: web.Request) -> str:
    sent = request.query.getall("access_token", ())
    if not sent:
        raise TokenRefused("token_missing")
    return sent[-1]


def _wants_body(request: web.Request) -> bool:
    """Whether it is likely that a page will be sent: neither its head alone is asked for, nor what is new."""
    return request.method == hdrs.METH_GET and hdrs.IF_NONE_MATCH not in request.headers


def _has(request: web.Request, tag: str) -> bool:
    """Whether the client says that it holds this page (RFC 9110, section 13.1.2: `*` is any)."""
    return any(known.value in {tag, "*"} for known in request.if_none_match or ())
