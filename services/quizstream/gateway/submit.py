"""POST: from a request to its answer, in the order of checks that Canvas has.

Token, scope, path, right to the resource; then body, elements, attempt; then publishing.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from quizstream.contracts.access import Grant, check_scope, decide_attempt
from quizstream.contracts.errors import BadBody, BodyTooLarge, Refusal, TokenRefused, UnsupportedMedia, UnusableEvents
from quizstream.contracts.events import Origin
from quizstream.contracts.limits import MAX_BODY_WITH_TOKEN_BYTES
from quizstream.contracts.resources import Attempt, Resource
from quizstream.gateway.content_type import parse_content_type
from quizstream.gateway.encode import Target, encode_slices
from quizstream.gateway.in_flight import InFlightBudget, Lease
from quizstream.gateway.lane import size_of
from quizstream.gateway.measures import Measures
from quizstream.gateway.parse import parse_slices
from quizstream.gateway.publish import Publisher, Shipment
from quizstream.gateway.read_body import BodyLimits, read_body
from quizstream.gateway.submission import Submission, read_attempt
from quizstream.gateway.take_turns import take_turns
from quizstream.gateway.verdict import prefers_strict, refuse_unusable
from quizstream.runtime import crash_points
from quizstream.runtime.access import TokenVerifier
from quizstream.runtime.no_content import NoContent
from quizstream.runtime.rate_limit import RateLimits

QUARANTINED: Final = "Quiz-Events-Quarantined"
# Bodies that are read before there is a token share what one submission may hold. No submission has this id.
_STRANGERS: Final = 0
_NOBODY: Final = "token_missing"


class Caller(NamedTuple):
    """Who posts, and to what."""

    grant: Grant
    resource: Resource


class Received(NamedTuple):
    """What a request brought, when its last byte came, and until when it must be answered, by the event loop's time."""

    submission: Submission
    body_bytes: int
    received_at: datetime
    deadline: float


class Prepared(NamedTuple):
    """A request that is ready to be published; `deadline` is a time of the event loop."""

    shipments: list[Shipment]
    deadline: float
    accepted: int
    quarantined: int


class Terms(NamedTuple):
    """Where events go, the largest body, decompressed, and the time from its last byte to the acknowledgement."""

    target: Target
    max_body_bytes: int
    publish_deadline_seconds: float


class SubmitEvents:
    """What answers POST."""

    def __init__(
        self,
        verifier: TokenVerifier[Grant],
        rates: RateLimits,
        publisher: Publisher,
        budget: InFlightBudget,
        measures: Measures,
        terms: Terms,
    ) -> None:
        self._verifier = verifier
        self._rates = rates
        self._publisher = publisher
        self._budget = budget
        self._measures = measures
        self._target = terms.target
        self._limits = BodyLimits(body_bytes=terms.max_body_bytes)
        self._limits_of_strangers = BodyLimits(body_bytes=min(terms.max_body_bytes, MAX_BODY_WITH_TOKEN_BYTES))
        self._publish_deadline_seconds = terms.publish_deadline_seconds
        self._clock = asyncio.get_running_loop().time

    async def handle(self, request: web.Request) -> web.Response:
        """Answer 204 when the events are durable.

        Raises:
            Refusal: what else there is to be said; a `TryLater` only when the events may be sent again.

        """
        header = self._verifier.bearer_token(request)
        caller = await (self._caller(request, header) if header else self._caller_of_query(request))
        with self._budget.lease(caller.resource.submission_id if isinstance(caller, Caller) else _STRANGERS) as lease:
            prepared = await self._prepare(request, lease, caller, look_for_token=header is None)
            crash_points.reached("gateway_before_produce")
            lease.resize(sum(size_of(shipment.records) for shipment in prepared.shipments))
            await self._publisher.publish(prepared.shipments, deadline=prepared.deadline)
            crash_points.reached("gateway_after_ack")
        return self._answer(prepared)

    async def _caller(self, request: web.Request, token: str) -> Caller:
        grant = await self._verifier.verify(token)
        check_scope(grant, "POST")
        path = request.match_info
        resource = grant.resolve(path["course_id"], path["quiz_id"], path["id"])
        if not grant.is_canary:  # its pace is the operator's own
            self._rates.check(token, resource.submission_id)
        return Caller(grant, resource)

    async def _caller_of_query(self, request: web.Request) -> Caller | Refusal:
        """Give the caller, or what is answered unless there is a token in the body, which goes before this one."""
        sent = request.query.getall("access_token", [])
        try:
            return await self._caller(request, sent[-1]) if sent else TokenRefused(_NOBODY)
        except Refusal as refusal:
            return refusal

    async def _prepare(
        self, request: web.Request, lease: Lease, caller: Caller | Refusal, *, look_for_token: bool
    ) -> Prepared:
        """Read, check and encode; what that took in memory beside the records is free at the end."""
        received = await self._receive(request, lease, caller)
        token = received.submission.access_token if look_for_token else None
        if token and received.body_bytes <= MAX_BODY_WITH_TOKEN_BYTES:
            caller = await self._caller(request, token)
            lease.pass_to(caller.resource.submission_id)
        if isinstance(caller, Refusal):
            raise caller
        attempt = decide_attempt(caller.grant, _requested_attempt(request, received.submission))
        self._judge(request, received.submission)
        origin = Origin(caller.resource, attempt, received.received_at, caller.grant.actor)
        return await self._encode(received, origin)

    async def _receive(self, request: web.Request, lease: Lease, caller: Caller | Refusal) -> Received:
        known = isinstance(caller, Caller)
        try:
            content_type = parse_content_type(request.headers.get(hdrs.CONTENT_TYPE))
            body = await read_body(request, self._limits if known else self._limits_of_strangers, hold=lease.resize)
            deadline = self._clock() + self._publish_deadline_seconds
            received_at = datetime.now(UTC)
            lease.resize(2 * len(body))  # and its elements, cut out of it
            submission = await take_turns(parse_slices(body, content_type))
        except (BadBody, BodyTooLarge, UnsupportedMedia) as fault:
            if isinstance(caller, Caller) or (isinstance(fault, BodyTooLarge) and caller.code == _NOBODY):
                raise
            raise caller from None  # first things first, as in Canvas
        return Received(submission, len(body), received_at, deadline)

    def _judge(self, request: web.Request, submission: Submission) -> None:
        self._measures.request_events.observe(len(submission.events) + len(submission.unusable))
        if not submission.unusable:
            return
        strict = prefers_strict(request.headers.getall("Prefer", []))
        try:
            refuse_unusable(submission, strict=strict, from_browser=hdrs.ORIGIN in request.headers)
        except UnusableEvents:
            self._measures.events_refused.inc(len(submission.events) + len(submission.unusable))
            raise

    async def _encode(self, received: Received, origin: Origin) -> Prepared:
        encoded = await take_turns(encode_slices(received.submission, origin, self._target))
        if encoded.skew_seconds > 0:
            self._measures.clock_ahead_seconds.observe(encoded.skew_seconds)
        elif encoded.skew_seconds < 0:
            self._measures.clock_behind_seconds.observe(-encoded.skew_seconds)
        counts = (len(received.submission.events), len(received.submission.unusable))
        return Prepared(encoded.shipments, received.deadline, *counts)

    def _answer(self, prepared: Prepared) -> web.Response:
        self._measures.events_accepted.inc(prepared.accepted)
        answer = NoContent()
        if prepared.quarantined:
            self._measures.events_quarantined.inc(prepared.quarantined)
            answer.headers[QUARANTINED] = str(prepared.quarantined)
        return answer


def _requested_attempt(request: web.Request, submission: Submission) -> Attempt | None:
    """Give the attempt beside the events, which wins over that in the query as in Rails."""
    if submission.attempt is not None:
        return submission.attempt
    sent = request.query.getall("attempt", []) if request.rel_url.raw_query_string else []
    return read_attempt(sent[-1]) if sent else None
