import asyncio
import itertools
import json
import re
import string
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from tests import background
from tests.waiting import eventually, scaled

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE, grant_from_claims
from quizstream.contracts.errors import TokenRefused, TryLater, keys_unavailable
from quizstream.contracts.metrics import ANSWERS, READER_METRICS
from quizstream.contracts.resources import Attempt, CourseId, QuizId, Resource, SubmissionId
from quizstream.reader.app import create_app, opened
from quizstream.reader.page_query import MEMBERS
from quizstream.reader.select import SESSION_SETTINGS, Selection, Store
from quizstream.reader.settings import ReaderSettings
from quizstream.runtime.access import Refusals, issue_token, open_verifier
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.postgres import Connection, PoolTerms, connection, load_statements, read_pool
from quizstream.runtime.telemetry import Meters, configure_logging
from quizstream.runtime.web import Site, serving

SECRET = "0123456789abcdef0123456789abcdef"
PATH = "/api/v1/courses/1/quizzes/2/submissions/7/events"
RECEIVED = datetime.now(UTC).replace(microsecond=0)
MIB = 2**20

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Row(NamedTuple):
    """An event as the worker would have written it."""

    id: int
    occurred_at: datetime = RECEIVED
    submission_id: int = 7
    course_id: int = 1
    quiz_id: int = 2
    attempt: int = 1
    event_type: str = "page_blurred"
    client_timestamp: str | None = None
    received_at: datetime = RECEIVED
    event_data: str = "null"

    @property
    def created_at(self) -> datetime:
        ahead = self.occurred_at > self.received_at + timedelta(minutes=5)
        return self.received_at if ahead else self.occurred_at


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, object]]:
        events: list[dict[str, object]] = json.loads(self.body)["quiz_submission_events"]
        return events

    @property
    def ids(self) -> list[int]:
        return [int(str(event["id"])) for event in self.events]

    @property
    def links(self) -> dict[str, str]:
        return {name: url for url, name in re.findall(r'<([^>]*)>; rel="([a-z]+)"', self.headers["Link"])}


class Api(NamedTuple):
    """A reader being served, a client of it, and its metrics."""

    base: str
    client: aiohttp.ClientSession
    meters: Meters

    async def get(self, target: str = PATH, method: str = "GET", **headers: str) -> Answer:
        url = target if target.startswith("http") else self.base + target
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, url, headers=names) as response:
            return Answer(response.status, response.headers, await response.read())

    def counted(self, outcome: str) -> float:
        return self.meters.registry.get_sample_value(ANSWERS.name, {"outcome": outcome}) or 0


def token(**claims: object) -> str:
    return issue_token(SECRET, {"sub": "teacher", "scope": GET_SCOPE, **claims}, 3600)


async def write(session: Session, *rows: Row) -> None:
    await session.executemany(
        "INSERT INTO quiz_submission_events (id, occurred_at, submission_id, course_id, quiz_id, attempt, event_type, "
        "client_timestamp, received_at, event_data, event_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [(*row, uuid.uuid4()) for row in rows],
    )
    latest = {row.submission_id: row.attempt for row in sorted(rows, key=lambda row: row.attempt)}
    await session.executemany(
        "INSERT INTO submissions VALUES ($1, $2) ON CONFLICT (submission_id) "
        "DO UPDATE SET latest_attempt = greatest(submissions.latest_attempt, excluded.latest_attempt)",
        list(latest.items()),
    )


@asynccontextmanager
async def served(database_url: str, **changes: object) -> AsyncIterator[Api]:
    values = {"database_url": SecretStr(database_url), "jwt_secret": SecretStr(SECRET), **changes}
    chosen = ReaderSettings.model_validate(values)
    meters = Meters(READER_METRICS)
    verifier = await open_verifier(chosen, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    headers = {"Authorization": f"Bearer {token()}"}
    async with (
        opened(chosen, verifier, meters, Lifetime()) as reader,
        serving(create_app(reader), Site("127.0.0.1", 0, finish_seconds=1)) as port,
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(60)) as client,
    ):
        yield Api(f"http://127.0.0.1:{port}", client, meters)


@pytest.fixture(autouse=True)
def _logs_as_in_production() -> None:
    configure_logging("info", "json")


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with served(database_url) as made:
        yield made


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


def expected(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The obvious rendering, of all members."""
    return [
        {
            "id": str(row.id),
            "event_type": row.event_type,
            "event_data": json.loads(row.event_data),
            "created_at": row.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "client_timestamp": row.client_timestamp,
            "received_at": row.received_at.strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{row.received_at.microsecond // 1000:03d}Z",
            "attempt": row.attempt,
        }
        for row in sorted(rows, key=lambda row: (row.created_at, row.id))
    ]


async def test_an_event_has_exactly_the_members_of_canvas_in_its_bytes(api: Api, session: Session) -> None:
    at = datetime(2014, 11, 16, 13, 37, 21, 999_999, tzinfo=UTC)
    await write(session, Row(3409, at, event_data='{"b": 1,"a":1e400,"a":12345678901234567890123}'))
    answer = await api.get()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.body == (
        b'{"quiz_submission_events":[{"id":"3409","event_type":"page_blurred",'
        b'"event_data":{"b": 1,"a":1e400,"a":12345678901234567890123},"created_at":"2014-11-16T13:37:21Z"}]}'
    )


async def test_events_are_ordered_by_the_full_time_and_then_by_id(api: Api, session: Session) -> None:
    later = RECEIVED + timedelta(microseconds=1)
    await write(session, Row(5, later), Row(30, RECEIVED), Row(4, RECEIVED), Row(200, RECEIVED), Row(1, later))
    assert (await api.get()).ids == [4, 30, 200, 1, 5]


async def test_a_stamp_far_ahead_shows_and_sorts_by_the_time_of_receipt(api: Api, session: Session) -> None:
    await write(
        session,
        Row(1, RECEIVED + timedelta(days=20)),
        Row(2, RECEIVED + timedelta(minutes=5)),
        Row(3, RECEIVED + timedelta(minutes=5, microseconds=1)),
        Row(4, RECEIVED - timedelta(seconds=1)),
    )
    answer = await api.get("".join((PATH, "?per_page=3")))
    assert answer.ids == [4, 1, 3]
    assert {event["created_at"] for event in answer.events[1:]} == {RECEIVED.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert (await api.get(answer.links["next"])).ids == [2]


@pytest.mark.parametrize("path", [PATH.replace("courses/1", "courses/9"), PATH.replace("quizzes/2", "quizzes/9")])
async def test_events_of_another_course_or_quiz_are_not_shown(api: Api, session: Session, path: str) -> None:
    await write(session, Row(1))
    answer = await api.get(path)
    assert (answer.status, answer.events) == (200, [])
    assert answer.links.keys() == {"current", "first", "last"}


async def test_an_unknown_submission_has_an_empty_log(api: Api) -> None:
    answer = await api.get()
    assert (answer.status, answer.body) == (200, b'{"quiz_submission_events":[]}')


async def test_without_attempt_the_latest_is_shown(api: Api, session: Session) -> None:
    await write(session, Row(1, attempt=1), Row(2, attempt=3), Row(3, attempt=2))
    assert (await api.get()).ids == [2]
    assert (await api.get(f"{PATH}?attempt=1")).ids == [1]
    assert (await api.get(f"{PATH}?attempt=4")).ids == []


@pytest.mark.parametrize("query", ["attempt=0", "attempt=x", "attempt[]=1", "page=0", "page=", "as_of=x"])
async def test_what_names_no_page_is_not_found(api: Api, query: str) -> None:
    answer = await api.get(f"{PATH}?{query}")
    assert answer.status == 404
    assert json.loads(answer.body)["errors"][0]["message"] == "The specified resource does not exist."


@pytest.mark.parametrize("tail", ["/", ".json", ".json/", "?access_token=x"])
async def test_the_path_has_the_forms_of_canvas(api: Api, session: Session, tail: str) -> None:
    await write(session, Row(1))
    assert (await api.get(f"{PATH}{tail}")).ids == [1]


async def test_other_methods_are_refused_with_those_that_there_are(api: Api) -> None:
    answer = await api.get(method="DELETE")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


async def test_pages_of_a_log_that_grows_neither_repeat_nor_skip(api: Api, session: Session) -> None:
    before = [Row(number, RECEIVED + timedelta(seconds=number % 7)) for number in range(1, 26)]
    await write(session, *before)
    seen: list[int] = []
    url, arriving = f"{api.base}{PATH}?per_page=4", itertools.count(100)
    while url:
        answer = await api.get(url)
        seen += answer.ids
        # One before all others, one among them, and one that begins the next attempt.
        await write(
            session,
            Row(next(arriving), RECEIVED - timedelta(seconds=1)),
            Row(next(arriving), RECEIVED + timedelta(seconds=3)),
            Row(next(arriving), attempt=2),
        )
        url = answer.links.get("next", "")
    assert seen == [row.id for row in sorted(before, key=lambda row: (row.created_at, row.id))]
    assert (await api.get()).ids == [102, 105, 108, 111, 114, 117, 120]


async def test_every_cut_into_pages_gives_the_same_log(api: Api, session: Session) -> None:
    rows = [Row(number, RECEIVED + timedelta(seconds=number // 400)) for number in range(1_203)]
    await write(session, *rows)
    for per_page in (1_203, 1_202, 1_000, 500, 499):
        pages = -(-len(rows) // per_page)
        ids = [(await api.get(f"{PATH}?per_page={per_page}&page={page}")).ids for page in range(1, pages + 2)]
        assert list(itertools.chain(*ids)) == list(range(1_203))
        assert ids[-1] == []


async def test_as_of_is_a_ceiling(api: Api, session: Session) -> None:
    await write(session, *(Row(number) for number in range(0, 50, 10)))
    assert (await api.get(f"{PATH}?as_of=20")).ids == [0, 10, 20]
    assert (await api.get(f"{PATH}?as_of=0")).ids == [0]
    answer = await api.get(f"{PATH}?as_of=29&per_page=2")
    assert answer.links["last"] == f"{api.base}{PATH}?attempt=1&as_of=20&page=2&per_page=2"


async def test_links_carry_other_parameters_first_and_never_a_token(api: Api, session: Session) -> None:
    await write(session, Row(1), Row(2))
    answer = await api.get(f"{PATH}?access_token={token()}&per_page=1&page=1&include[]=attempt&z=%20,%22%3E")
    assert answer.links["next"] == (
        f"{api.base}{PATH}?include%5B%5D=attempt&z=%20%2C%22%3E&attempt=1&as_of=2&page=2&per_page=1"
    )
    assert "access_token" not in answer.headers["Link"]


async def test_a_page_behind_the_end_is_empty_and_has_links(api: Api, session: Session) -> None:
    await write(session, Row(1))
    answer = await api.get(f"{PATH}?page={'9' * 30}&per_page=10000")
    assert (answer.status, answer.events) == (200, [])
    assert answer.links["prev"].endswith("&page=1&per_page=10000")


async def test_links_begin_with_the_public_address(database_url: str) -> None:
    async with served(database_url, public_url="https://quiz.example.edu/canvas") as api:
        assert (await api.get()).links["current"].startswith(f"https://quiz.example.edu/canvas{PATH}?")


async def test_members_are_included_when_asked_for(api: Api, session: Session) -> None:
    at = RECEIVED + timedelta(microseconds=120_900)
    row = Row(1, RECEIVED, client_timestamp="2026-11-21t10:00+0100", received_at=at, attempt=4)
    await write(session, row)
    for members in itertools.chain.from_iterable(itertools.combinations(MEMBERS, size) for size in range(4)):
        (event,) = (await api.get(f"{PATH}?{'&'.join(f'include[]={member}' for member in members)}")).events
        shown = {"id", "event_type", "event_data", "created_at", *members}
        assert event == {name: value for name, value in expected([row])[0].items() if name in shown}


@pytest.fixture
def base(database_url: str) -> Iterator[str]:
    """The address of a reader that lives on while the examples of a test come, each with a loop of its own."""
    with background.held_open(served(database_url)) as api:
        yield api.base


# Truncating all partitions for each example would take most of the time.
fresh_submissions = itertools.count(1_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def unescaped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
rows = st.builds(
    Row,
    st.integers(0, 2**63 - 1),
    occurred_at=instants,
    submission_id=st.just(7),
    course_id=st.just(1),
    quiz_id=st.just(2),
    event_type=texts,
    client_timestamp=st.none() | texts,
    received_at=instants,
    attempt=st.just(1),
    event_data=json_values.map(json.dumps) | json_values.map(unescaped),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=6, unique_by=lambda row: row.id))
@example([Row(1, event_data=r'"\u0000\ud800"', event_type='"\\\x01\x7f\u2028')])
def test_any_events_come_out_as_the_obvious_rendering_has_them(
    database_url: str, base: str, rows: Sequence[Row]
) -> None:
    submission_id = next(fresh_submissions)
    asyncio.run(write_apart(database_url, [row._replace(submission_id=submission_id) for row in rows]))
    query = "&".join(f"include[]={member}" for member in MEMBERS)
    target = f"{PATH.replace('submissions/7', f'submissions/{submission_id}')}?{query}"
    for condition in ({}, {"If-None-Match": '"another"'}):  # in one statement, and planned
        request = urllib.request.Request(base + target, headers={"Authorization": f"Bearer {token()}", **condition})
        with urllib.request.urlopen(request, timeout=10) as response:
            body: bytes = response.read()
        assert json.loads(body)["quiz_submission_events"] == expected(rows)
        assert all(row.event_data.encode() in body for row in rows)


async def write_apart(database_url: str, rows: Sequence[Row]) -> None:
    session = await asyncpg.connect(database_url)
    try:
        await write(session, *rows)
    finally:
        await session.close()


async def test_a_page_is_not_sent_again_to_who_has_it_but_after_a_write(api: Api, session: Session) -> None:
    await write(session, Row(1))
    first = await api.get()
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    for known in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        again = await api.get(If_None_Match=known)
        assert (again.status, again.body) == (304, b"")
        assert {name: again.headers[name] for name in ("ETag", "Link", "Cache-Control")} == {
            name: first.headers[name] for name in ("ETag", "Link", "Cache-Control")
        }
    await write(session, Row(2))
    assert (await api.get(If_None_Match=tag)).ids == [1, 2]
    assert api.counted("not_modified") == 4


async def test_different_pages_have_different_tags(api: Api, session: Session) -> None:
    await write(session, Row(1), Row(2, attempt=2), Row(3, submission_id=8))
    targets = [
        PATH,
        f"{PATH}?attempt=1",
        f"{PATH}?page=2",
        f"{PATH}?per_page=1",
        f"{PATH}?include[]=attempt",
        f"{PATH}?include[]=received_at",
        PATH.replace("submissions/7", "submissions/8"),
        PATH.replace("quizzes/2", "quizzes/3"),
        PATH.replace("courses/1", "courses/2"),
    ]
    tags = [(await api.get(target)).headers["ETag"] for target in targets]
    assert len(set(tags)) == len(targets)


async def test_a_head_has_the_headers_of_a_get_and_no_body(api: Api, session: Session) -> None:
    await write(session, Row(1), Row(2))
    names = ("ETag", "Link", "Cache-Control", "Content-Type")
    got, head = await api.get(), await api.get(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert [head.headers[name] for name in names] == [got.headers[name] for name in names]
    assert (await api.get(method="HEAD", If_None_Match=got.headers["ETag"])).status == 304
    assert (await api.get()).ids == [1, 2]


async def test_string_ids_and_problem_types_change_nothing_in_an_answer(api: Api, session: Session) -> None:
    await write(session, Row(1, event_data='{"id":5}'))
    plain = await api.get()
    for accept in ("application/json+canvas-string-ids", "application/problem+json", "text/html"):
        assert (await api.get(Accept=accept)).body == plain.body


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"scope": POST_SCOPE}, 401, "Insufficient scopes on access token."),
        ({"iss": "x", "nbf": 2**40}, 401, "Invalid access token."),
        ({"course_id": 9}, 403, None),
        ({"quiz_id": "9"}, 403, None),
        ({"submission_id": 8}, 403, None),
        ({"attempt": 2}, 200, None),
    ],
)
async def test_a_token_reads_only_what_it_is_for(
    api: Api, session: Session, claims: Mapping[str, object], status: int, message: str | None
) -> None:
    await write(session, Row(1), Row(2, attempt=2), Row(3, attempt=3))
    answer = await api.get(Authorization=f"Bearer {token(**claims)}")
    assert answer.status == status
    assert status != 200 or answer.ids == [2]
    assert message is None or json.loads(answer.body)["errors"][0]["message"] == message


async def test_a_token_of_one_attempt_reads_no_other(api: Api, session: Session) -> None:
    await write(session, Row(1), Row(2, attempt=2))
    answer = await api.get(f"{PATH}?attempt=1", Authorization=f"Bearer {token(attempt=2)}")
    assert answer.status == 403


async def test_self_is_the_submission_of_the_token(api: Api, session: Session) -> None:
    await write(session, Row(1))
    bound = f"Bearer {token(submission_id=7)}"
    path = PATH.replace("submissions/7", "submissions/self")
    assert (await api.get(path, Authorization=bound)).ids == [1]
    assert (await api.get(path)).status == 404


async def test_without_a_token_nothing_is_read(api: Api) -> None:
    answer = await api.get(Authorization="")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="canvas-lms"'


@asynccontextmanager
async def store_of(database_url: str) -> AsyncIterator[tuple[Connection, Store]]:
    async with (
        read_pool(database_url, PoolTerms("test", 1, session_settings=SESSION_SETTINGS)) as connections,
        connection(database_url, application_name="test") as session,
    ):
        yield session, Store(connections, 30)


sizes = st.sampled_from([0, 100, 1_500, 3_000, 60_000, 500_000, 3 * MIB, 5 * MIB])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(sizes, st.booleans()), min_size=1, max_size=25), st.integers(1, 3))
def test_rounds_are_bounded_whatever_events_there_are(
    database_url: str, sizes: Sequence[tuple[int, bool]], page: int
) -> None:
    submission_id = SubmissionId(next(fresh_submissions))

    async def check() -> None:
        async with store_of(database_url) as (session, store):
            await session.executemany(
                "INSERT INTO quiz_submission_events "
                "SELECT $1::bigint, $5, 1, 2, 1, gen_random_uuid(), 'x', repeat(E'\\x01', $2 / 9), $3, $3, null, "
                "to_json(CASE WHEN $4 THEN repeat('x', $2) ELSE "
                "(SELECT string_agg(md5($1::bigint || ':' || n), '') FROM generate_series(0, $2 / 32) n) END)",
                [(number, size, RECEIVED, same, submission_id) for number, (size, same) in enumerate(sizes)],
            )
            await assert_bounded(store, submission_id, len(sizes), page)

    asyncio.run(check())


async def assert_bounded(store: Store, submission_id: SubmissionId, events: int, page: int) -> None:
    resource = Resource(CourseId(1), QuizId(2), submission_id)
    per_page = -(-events // 2)
    selection = Selection(resource, Attempt(1), None, page, per_page, frozenset(MEMBERS))
    async with store.reading() as reading:
        plan = await reading.plan(selection)
        after, ids = plan.after, list[str]()
        for round_ in plan.rounds:
            body, after = await reading.render(selection, plan, round_, after)
            assert round_.events == 1 or len(body) <= 4 * MIB
            ids += [event["id"] for event in json.loads(b"[" + body + b"]")]
    start = (page - 1) * per_page
    assert ids == [str(number) for number in range(start, min(start + per_page, events))]


async def test_a_round_has_at_most_2000_events(database_url: str, session: Session) -> None:
    await write(session, *(Row(number) for number in range(4_203)))
    resource = Resource(CourseId(1), QuizId(2), SubmissionId(7))

    async def rounds_of(*, page: int = 1, per_page: int = 10_000, as_of: int | None = None) -> list[int]:
        plan = await reading.plan(Selection(resource, None, as_of, page, per_page, frozenset()))
        return [round_.events for round_ in plan.rounds]

    async with store_of(database_url) as (_, store), store.reading() as reading:
        assert await rounds_of() == [2_000, 2_000, 203]
        assert await rounds_of(page=2, per_page=4_100) == [103]
        assert await rounds_of(as_of=1_999) == [2_000]
        assert await rounds_of(as_of=2_000) == [2_000, 1]
        assert await rounds_of(as_of=1_999, per_page=1_999) == [1_999]


async def test_a_short_log_is_the_page_that_would_have_been_planned(api: Api, session: Session) -> None:
    future = RECEIVED + timedelta(days=20)
    await write(session, *(Row(number, future if number % 7 else RECEIVED) for number in range(90)))
    for target in (PATH, f"{PATH}?per_page=200&as_of=70", PATH.replace("submissions/7", "submissions/8")):
        at_once = await api.get(target)
        planned = await api.get(target, If_None_Match='"another"')
        assert at_once.status == planned.status == 200
        assert at_once.body == planned.body
        assert [at_once.headers[name] for name in ("ETag", "Link")] == [planned.headers[n] for n in ("ETag", "Link")]


@pytest.mark.parametrize(
    ("events", "data", "per_page", "is_short"),
    [
        (1_000, "1", 10_000, True),
        (1_001, "1", 10_000, False),
        (5, "1", 5, True),
        (6, "1", 5, False),
        (1, json.dumps("x" * 1_800), 100, True),
        (1, json.dumps(string.printable * 20), 100, False),
        (1, json.dumps("x" * 100_000), 100, False),  # compressed: its size is not known without decompressing it
        (0, "1", 100, True),
    ],
)
async def test_a_log_is_short_that_is_one_page_of_few_small_events(
    database_url: str, session: Session, events: int, data: str, per_page: int, *, is_short: bool
) -> None:
    await write(session, *(Row(number, event_data=data) for number in range(events)))
    resource = Resource(CourseId(1), QuizId(2), SubmissionId(7))
    async with store_of(database_url) as (_, store), store.reading() as reading:
        found = await reading.short_log(Selection(resource, None, None, 1, per_page, frozenset()))
        planned = await reading.plan(Selection(resource, None, None, 1, per_page, frozenset()))
    assert (found is not None) == is_short
    assert found is None or found[0] == planned


async def write_large(session: Session, events: int) -> None:
    await session.execute(
        "INSERT INTO quiz_submission_events SELECT n, 7, 1, 2, 1, gen_random_uuid(), 'x', null, $1, $1, null, "
        "to_json(repeat('x', 3000000)) FROM generate_series(1, $2::integer) n",
        RECEIVED,
        events,
    )
    await session.execute("INSERT INTO submissions VALUES (7, 1)")


async def test_an_answer_of_many_rounds_is_whole(api: Api, session: Session) -> None:
    await write_large(session, 5)
    answer = await api.get()
    assert answer.ids == [1, 2, 3, 4, 5]
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert {len(str(event["event_data"])) for event in answer.events} == {3_000_000}
    await eventually(lambda: _completed(api))


async def _completed(api: Api) -> bool:
    return api.counted("complete") == 1


async def test_a_failure_in_mid_answer_breaks_the_connection(api: Api, session: Session) -> None:
    await write_large(session, 20)
    async with api.client.get(api.base + PATH) as response:
        assert response.status == 200
        # The client does not read: the server waits with some MB sent, most of 60 not even fetched.
        await session.execute("DELETE FROM quiz_submission_events WHERE id > 18")
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert api.counted("broken") == 1
    assert (await api.get(f"{PATH}?per_page=1")).ids == [1]


async def test_a_client_that_does_not_read_keeps_no_connection_to_the_store(
    database_url: str, session: Session
) -> None:
    await write_large(session, 20)
    async with served(database_url, read_connections=1) as api, api.client.get(api.base + PATH) as stalled:
        assert (await api.get(f"{PATH}?per_page=1")).ids == [1]
        stalled.close()


async def test_more_open_answers_than_allowed_are_told_to_come_again(database_url: str, session: Session) -> None:
    await write_large(session, 20)
    async with served(database_url, max_open_answers=1) as api, api.client.get(api.base + PATH) as stalled:
        answer = await api.get()
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
        stalled.close()


@asynccontextmanager
async def frozen_at_will(database_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the store that carries nothing while the event is not set."""
    parts = urlsplit(database_url)
    flowing = asyncio.Event()
    flowing.set()
    pumps: set[asyncio.Task[None]] = set()
    ends: set[asyncio.StreamWriter] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await flowing.wait()
            sink.write(data)
        sink.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        ends.update((writer, back))
        pumps.update((asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    account = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    yield urlunsplit(parts._replace(netloc=f"{account}127.0.0.1:{port}")), flowing
    server.close()
    for task in pumps:
        task.cancel()
    for end in ends:
        end.close()
    await asyncio.gather(*pumps, *(end.wait_closed() for end in ends), return_exceptions=True)


async def assert_told_to_come_again(api: Api) -> None:
    began = time.monotonic()
    answer = await api.get()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert json.loads(answer.body)["errors"][0]["code"] == "store_unavailable"
    assert time.monotonic() - began < scaled(5)


async def test_a_store_that_stops_answering_is_503_in_time_and_recovers(database_url: str, session: Session) -> None:
    await write(session, Row(1))
    async with frozen_at_will(database_url) as (url, flowing), served(url) as api:
        assert (await api.get()).ids == [1]
        flowing.clear()
        await asyncio.gather(*(assert_told_to_come_again(api) for _ in range(20)))
        flowing.set()

        async def recovered() -> bool:
            return (await api.get()).status == 200

        await eventually(recovered)


async def test_a_store_that_is_not_there_is_503(unused_tcp_port: int) -> None:
    async with served(f"postgresql://127.0.0.1:{unused_tcp_port}/none") as api:
        await assert_told_to_come_again(api)


async def test_a_connection_that_the_server_ends_is_503_and_then_made_anew(api: Api, session: Session) -> None:
    await write(session, Row(1))
    assert (await api.get()).ids == [1]
    lock = session.transaction()
    await lock.start()
    await session.execute("LOCK TABLE quiz_submission_events IN ACCESS EXCLUSIVE MODE")
    waiting = asyncio.create_task(api.get())
    await eventually(lambda: session.fetchval(f"SELECT pg_terminate_backend(pid) FROM ({BLOCKED}) AS blocked"))
    assert (await waiting).status == 503
    await lock.rollback()
    assert (await api.get()).ids == [1]


BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND application_name = 'quizstream-reader'"
)


async def test_a_store_without_its_tables_is_503(database_url: str) -> None:
    parts = urlsplit(database_url)
    async with served(urlunsplit(parts._replace(path="/postgres"))) as api:
        assert (await api.get()).status == 503


async def test_nothing_needs_prepared_statements(database_url: str, session: Session) -> None:
    await write(session, Row(1))
    async with served(database_url, statement_cache_size=0) as api:
        assert [(await api.get()).ids for _ in range(3)] == [[1], [1], [1]]


def argument(value: object) -> str:
    return "null" if value is None else f"'{value}'"


SHORT_ARGUMENTS = (7, 1, 2, None, 10**9, 1_000, "false", "true", "false")
PLAN_ARGUMENTS = (7, 1, 2, None, 10**9, 10, 100, "false")
ROUND_ARGUMENTS = (
    *(7, 1, 2, 1, 10**9, RECEIVED - timedelta(days=70), -1, 500),
    *(RECEIVED, RECEIVED, "false", "true", "false"),
)


async def fill_a_month(session: Session) -> None:
    await session.execute(
        "INSERT INTO quiz_submission_events "
        "SELECT n, n % 200, 1, 2, 1, gen_random_uuid(), 'x', null, at, at, null, '1' FROM generate_series(1, 40000) n, "
        "LATERAL (SELECT $1::timestamptz - make_interval(mins => n % 60000) AS at) t",
        RECEIVED,
    )
    await session.execute("INSERT INTO submissions SELECT n, 1 FROM generate_series(1, 20000) n")


async def prepare(session: Session, name: str) -> None:
    for setting, value in SESSION_SETTINGS.items():
        await session.execute(f"SET {setting} = {value}")
    await session.execute(
        f"PREPARE asked AS {load_statements('quizstream.reader', 'sql/events.sql')[name].rstrip(';')}"
    )


async def plan_of(session: Session, arguments: Sequence[object]) -> str:
    call = f"EXECUTE asked ({', '.join(map(argument, arguments))})"
    await session.fetch(call)
    plan = "\n".join(line for (line,) in await session.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {call}"))
    planned = await session.fetchrow(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'asked'"
    )
    assert planned is not None
    assert planned["generic_plans"] >= 2
    assert planned["custom_plans"] == 0, "it is planned once, not for each call"
    return plan


BY_KEY = (
    r"(Index Scan using|Bitmap Index Scan on) quiz_submission_events_\w+_pkey .*\n\s+Index Cond: \(+submission_id = \$1"
)
each_statement = pytest.mark.parametrize(
    ("name", "arguments"),
    [("short_log", SHORT_ARGUMENTS), ("plan_page", PLAN_ARGUMENTS), ("render_round", ROUND_ARGUMENTS)],
)


@each_statement
async def test_a_page_is_read_by_the_primary_key(session: Session, name: str, arguments: Sequence[object]) -> None:
    await fill_a_month(session)
    await session.execute("ANALYZE quiz_submission_events, submissions")
    await prepare(session, name)
    plan = await plan_of(session, arguments)
    assert re.search(BY_KEY, plan)
    assert not re.search(r"Rows Removed by Filter: [1-9]\d\d", plan)


@each_statement
async def test_a_month_that_was_empty_when_the_plan_was_made_is_not_read_from_end_to_end(
    database_url: str, session: Session, name: str, arguments: Sequence[object]
) -> None:
    await session.execute("VACUUM (ANALYZE) quiz_submission_events")
    await prepare(session, name)
    await plan_of(session, arguments)
    async with connection(database_url, application_name="test") as writer:
        await fill_a_month(writer)
    plan = await plan_of(session, arguments)
    assert not re.search(r"Seq Scan on quiz_submission_events\w* .*rows=0*[1-9]", plan)
    assert not re.search(r"Rows Removed by Filter: [1-9]\d\d", plan)


async def test_a_session_that_the_server_ended_while_idle_is_an_outage_and_no_bug(database_url: str) -> None:
    async with read_pool(database_url, PoolTerms("test", 1)) as connections:
        with pytest.raises(TryLater):
            async with Store(connections, 3).reading():
                raise asyncpg.InternalClientError  # what the driver makes of the server's last words
