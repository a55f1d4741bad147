"""POST, behaviour by behaviour, over sockets and through the whole road: what is answered, and what GET shows then."""

import gzip
import json
import sys
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import pytest
from tests.acceptance.api import (
    BODY,
    EVENT,
    EVENTS,
    FORM,
    JSON,
    MULTIPART,
    TEXT,
    THE_EVENT,
    Shown,
    SubmissionLog,
    bearer,
    body_of,
    encoded,
    parts,
    shown,
    stored,
    urlencoded,
)
from tests.raw_http import Header, chunked

from quizstream.contracts.access import POST_SCOPE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STRICT: Final = ("Prefer", "handling=strict")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


SAME_EVENT: Final[dict[str, tuple[Sequence[Header], bytes]]] = {
    "application/json": ([JSON], BODY),
    "a charset": ([("Content-Type", 'application/json; charset="UTF-8"')], BODY),
    "any case": ([("Content-Type", "APPLICATION/Json")], BODY),
    "+json": ([("Content-Type", "application/vnd.api+json")], BODY),
    "no type": ([], BODY),
    "an empty type": ([("Content-Type", "")], BODY),
    "text/plain": ([TEXT], BODY),
    "a byte order mark": ([JSON], b"\xef\xbb\xbf" + BODY),
    "blanks around": ([JSON], b"\r\n\t " + BODY + b" \n"),
    "an escaped name": ([JSON], BODY.replace(b"event_type", b"event\\u005ftype")),
    "chunked": ([JSON, ("Transfer-Encoding", "chunked")], chunked(BODY[:7], BODY[7:])),
    "a trailer": ([JSON, ("Transfer-Encoding", "chunked")], chunked(BODY, trailer=b"Digest: x\r\n")),
    "gzip": ([JSON, encoded("gzip")], gzip.compress(BODY)),
    "x-gzip in capitals": ([JSON, encoded("X-GZIP")], gzip.compress(BODY)),
    "deflate": ([JSON, encoded("deflate")], zlib.compress(BODY)),
    "deflate without its envelope": ([JSON, encoded("deflate")], raw_deflate(BODY)),
    "zstd": ([JSON, encoded("zstd")], zstd.compress(BODY)),
    "members of gzip": ([JSON, encoded("gzip")], gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
    "frames of zstd": ([JSON, encoded("zstd")], zstd.compress(BODY[:9]) + zstd.compress(BODY[9:])),
    "one coding on another": ([JSON, encoded("gzip, zstd")], zstd.compress(gzip.compress(BODY))),
    "identity": ([JSON, encoded("identity")], BODY),
    "gzip in chunks": (
        [JSON, encoded("gzip"), ("Transfer-Encoding", "chunked")],
        chunked(*(bytes([byte]) for byte in gzip.compress(BODY))),
    ),
    "gzip of a form": ([FORM, encoded("gzip")], gzip.compress(
        b"quiz_submission_events[][event_type]=page_blurred&quiz_submission_events[][event_data][]=12"
        b"&quiz_submission_events[][client_timestamp]=2020-03-01T09:30:00.123Z"
    )),
    "an unused token in the body": ([JSON], body_of(EVENT, beside=b',"access_token":"not looked at"')),
    "unknown members": ([JSON], body_of(
        EVENT[:-1] + b',"id":"5","created_at":"1999-01-01T00:00:00Z","received_at":1,"user_id":9}',
        beside=b',"validate":{"deep":[1]}',
    )),
    "a null attempt": ([JSON], body_of(EVENT, beside=b',"attempt":null')),
    "a repeated member, of which the last counts": ([JSON], body_of(b'{"event_type":"first",' + EVENT[1:])),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body"), SAME_EVENT.values(), ids=SAME_EVENT.keys())
async def test_the_same_event_comes_from_every_way_to_send_it(
    own_log: SubmissionLog, headers: Sequence[Header], body: bytes
) -> None:
    answer = await own_log.post(body, headers)
    assert (answer.status, answer.body) == (204, b"")
    assert "quiz-events-quarantined" not in answer.headers
    assert await stored(own_log, 1) == [THE_EVENT]


FORMS: Final[dict[str, tuple[Sequence[tuple[str, str]], Sequence[Shown]]]] = {
    "documented, one event after the other": (
        [
            (f"{EVENTS}[][client_timestamp]", "2020-01-01T00:00:00Z"),
            (f"{EVENTS}[][event_type]", "question_flagged"),
            (f"{EVENTS}[][event_data][question_id]", "1"),
            (f"{EVENTS}[][event_data][flagged]", "true"),
            (f"{EVENTS}[][client_timestamp]", "2020-01-01T00:00:01Z"),
            (f"{EVENTS}[][event_type]", "page_blurred"),
        ],
        [
            Shown("question_flagged", b'{"question_id":"1","flagged":"true"}', "2020-01-01T00:00:00Z"),
            Shown("page_blurred", b"null", "2020-01-01T00:00:01Z"),
        ],
    ),
    "indexed, in any order": (
        [(f"{EVENTS}[10][event_type]", "c"), (f"{EVENTS}[0][event_type]", "a"), (f"{EVENTS}[2][event_type]", "b")],
        [Shown("a"), Shown("b"), Shown("c")],
    ),
    "strings, as canvasapi sends": (
        [(f"{EVENTS}[]", "capi_a"), (f"{EVENTS}[]", "capi_b")],
        [Shown("capi_a"), Shown("capi_b")],
    ),
    "the bare name repeated, as Go sends": (
        [(EVENTS, "page_blurred"), (EVENTS, "page_focused")],
        [Shown("page_blurred"), Shown("page_focused")],
    ),
    "objects with other members merge": (
        [(f"{EVENTS}[][event_type]", "x"), (f"{EVENTS}[][client_timestamp]", "2020-01-01T00:00:00Z")],
        [Shown("x", b"null", "2020-01-01T00:00:00Z")],
    ),
    "lists of objects in the data": (
        [
            (f"{EVENTS}[][event_type]", "question_answered"),
            (f"{EVENTS}[][event_data][][quiz_question_id]", "1"),
            (f"{EVENTS}[][event_data][][answer]", "42 \u00e9 \U0001f600"),
            (f"{EVENTS}[][event_data][][quiz_question_id]", "2"),
        ],
        [
            Shown(
                "question_answered",
                '[{"quiz_question_id":"1","answer":"42 \u00e9 \U0001f600"},{"quiz_question_id":"2"}]'.encode(),
            )
        ],
    ),
    "what does not concern events": (
        [("utf8", "\u2713"), ("authenticity_token", "x"), (f"{EVENTS}[][event_type]", "a"), ("commit[x]", "")],
        [Shown("a")],
    ),
}


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
@pytest.mark.parametrize(("fields", "expected"), FORMS.values(), ids=FORMS.keys())
async def test_a_form_is_read_as_rack_reads_it(
    own_log: SubmissionLog, fields: Sequence[tuple[str, str]], expected: Sequence[Shown], kind: str
) -> None:
    if kind == "urlencoded":
        answer = await own_log.post(urlencoded(fields), [FORM])
    else:
        answer = await own_log.post(parts(*fields), [MULTIPART])
    assert answer.status == 204, answer
    assert await stored(own_log, len(expected)) == expected


EVENT_TYPES: Final = {
    "text": (b'"something_of_a_plugin"', "something_of_a_plugin"),
    "a number": (b"17", "17"),
    "a number of any size": (b"1e400", "1e400"),
    "true": (b"true", "true"),
    "255 characters": (json.dumps("\U0001f600" * 255).encode(), "\U0001f600" * 255),
    "quotes, blanks and commas": (b'"a\\"b\\\\c\\n,\\t\'\\u0001\\u0002 "', "a\"b\\c\n,\t'\x01\x02 "),
    "what COPY takes for an end": (b'"\\\\."', "\\."),
    "what COPY takes for null": (b'"\\\\N"', "\\N"),
    "no letters at all": (b'" "', " "),
    "an emoji in escapes": (b'"\\ud83d\\ude00"', "\U0001f600"),
}


@pytest.mark.parametrize(("sent", "expected"), EVENT_TYPES.values(), ids=EVENT_TYPES.keys())
async def test_any_text_number_or_boolean_is_a_type(own_log: SubmissionLog, sent: bytes, expected: str) -> None:
    assert (await own_log.post(body_of(b'{"event_type":%b}' % sent))).status == 204
    assert await stored(own_log, 1) == [Shown(expected)]


async def test_a_bare_string_is_an_event_of_that_type(own_log: SubmissionLog) -> None:
    assert (await own_log.post(body_of(b'"page_blurred"', b'"page_\\u0066ocused"'))).status == 204
    assert await stored(own_log, 2) == [Shown("page_blurred"), Shown("page_focused")]


DATA: Final = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0.0",
    b'""',
    b"[]",
    b"{}",
    b"[null, 1 ,\t2]",
    b'{ "a" : 1, "a" : 2 }',
    b"123456789012345678901234567890.12345678901234567890",
    b"1e400",
    b"-1E-400",
    b'"\\u0000"',
    b'"\\ud800"',
    b'{"\\udc00":"\\ud83d\\ude00 \\uDE00"}',
    '"\u2028 \u00e9 \U0001f600 <&>"'.encode(),
    b'"\\u00e9\\/\\b\\f\\n\\r\\t"',
    b'"\\\\N"',
    b'"\\\\."',
    b'"a\\"b,\'c\\\\"',
    b"\n[\n1\n]\n",
    b'"' + b"x" * 200_000 + b'"',
]


async def test_event_data_comes_back_as_the_text_that_was_sent(own_log: SubmissionLog) -> None:
    elements = [b'{"event_type":"e%d","event_data":%b}' % (number, data) for number, data in enumerate(DATA)]
    assert (await own_log.post(body_of(*elements, b'{"event_type":"without"}'))).status == 204
    found = await stored(own_log, len(DATA) + 1)
    assert [event.event_data for event in found] == [*(data.strip() for data in DATA), b"null"]


async def test_data_of_500_levels_comes_back(own_log: SubmissionLog) -> None:
    data = b"[" * 497 + b"]" * 497  # inside the event, the array and the body
    assert (await own_log.post(body_of(b'{"event_type":"deep","event_data":%b}' % data))).status == 204
    assert await stored(own_log, 1) == [Shown("deep", data)]


@pytest.mark.parametrize("headers", [[JSON], [TEXT], [JSON, ("Origin", "https://other.example.edu")], [JSON, STRICT]])
async def test_nothing_to_store_is_no_error(own_log: SubmissionLog, headers: Sequence[Header]) -> None:
    answer = await own_log.post(body_of(), headers)
    assert (answer.status, answer.body) == (204, b"")
    assert await own_log.is_empty()


class Refused(NamedTuple):
    """A request that is refused: what is answered."""

    status: int
    code: str
    body: bytes = BODY
    headers: Sequence[Header] = (JSON,)
    query: str = ""


REFUSED: Final = {
    "no body": Refused(400, "events_missing", b""),
    "no body of a form": Refused(400, "events_missing", b"", [FORM]),
    "no JSON": Refused(400, "json_malformed", b"{"),
    "two documents": Refused(400, "json_malformed", BODY + BODY),
    "NaN": Refused(400, "json_malformed", body_of(b'{"event_type":"a","event_data":NaN}')),
    "a control character in a string": Refused(400, "json_malformed", body_of(b'"a\nb"')),
    "Latin-1": Refused(400, "not_utf8", body_of(b'"\xe9"')),
    "a surrogate in UTF-8": Refused(400, "not_utf8", body_of(b'"\xed\xa0\x80"')),
    "UTF-16": Refused(400, "not_utf8", BODY.decode().encode("utf-16")),
    "too deep": Refused(400, "too_deep", body_of(b'{"event_type":"a","event_data":%b}' % (b"[" * 498 + b"]" * 498))),
    "no object": Refused(400, "events_missing", b"[]"),
    "no events": Refused(400, "events_missing", b'{"events":[]}'),
    "events that are null": Refused(400, "events_not_array", b'{"quiz_submission_events":null}'),
    "events that are an object": Refused(400, "events_not_array", b'{"quiz_submission_events":{"0":{}}}'),
    "events that are text": Refused(400, "events_not_array", b'{"quiz_submission_events":"page_blurred"}'),
    "attempt 0": Refused(400, "attempt_invalid", body_of(EVENT, beside=b',"attempt":0')),
    "attempt 10001": Refused(400, "attempt_invalid", query="?attempt=10001"),
    "an attempt with a fraction": Refused(400, "attempt_invalid", body_of(EVENT, beside=b',"attempt":1.0')),
    "an attempt that is true": Refused(400, "attempt_invalid", body_of(EVENT, beside=b',"attempt":true')),
    "an attempt in other digits": Refused(400, "attempt_invalid", query="?attempt=%D9%A1"),
    "an empty attempt": Refused(400, "attempt_invalid", query="?attempt="),
    "a form that contradicts itself": Refused(
        400, "form_conflict", b"quiz_submission_events=a&quiz_submission_events[][event_type]=b", [FORM]
    ),
    "a form of an object": Refused(400, "events_not_array", b"quiz_submission_events[a]=b", [FORM]),
    "a form that is no UTF-8": Refused(400, "not_utf8", b"quiz_submission_events[]=%E9", [FORM]),
    "multipart without boundary": Refused(400, "boundary_missing", headers=[("Content-Type", "multipart/form-data")]),
    "multipart without end": Refused(
        400, "multipart_malformed", parts((f"{EVENTS}[]", "a")).removesuffix(b"--\r\n"), [MULTIPART]
    ),
    "half of a gzip": Refused(400, "compression_broken", gzip.compress(BODY)[:-9], [JSON, encoded("gzip")]),
    "half of a zstd": Refused(400, "compression_broken", zstd.compress(BODY)[:-3], [JSON, encoded("zstd")]),
    "no gzip": Refused(400, "compression_broken", BODY, [JSON, encoded("gzip")]),
    "garbage behind gzip": Refused(400, "compression_broken", gzip.compress(BODY) + b"x", [JSON, encoded("gzip")]),
    "another type": Refused(415, "content_type_unsupported", headers=[("Content-Type", "application/xml")]),
    "a type that is none": Refused(415, "content_type_unsupported", headers=[("Content-Type", "json")]),
    "another charset": Refused(
        415, "charset_unsupported", headers=[("Content-Type", "application/json; charset=utf-16")]
    ),
    "another coding": Refused(415, "content_encoding_unsupported", headers=[JSON, encoded("br")]),
    "a bomb": Refused(413, "body_too_large", gzip.compress(bytes(16 * 2**20 + 1)), [JSON, encoded("gzip")]),
    "a bomb of zstd": Refused(413, "body_too_large", zstd.compress(bytes(2**30)), [JSON, encoded("zstd")]),
    "a bomb in a bomb": Refused(
        413, "body_too_large", gzip.compress(gzip.compress(bytes(2**28))), [JSON, encoded("gzip, gzip")]
    ),
    "a length beyond the limit": Refused(413, "body_too_large", b"", [JSON, ("Content-Length", str(16 * 2**20 + 1))]),
    "too many events": Refused(413, "too_many_events", body_of(*[b'"a"'] * 50_001)),
    "none usable": Refused(422, "events_unusable", body_of(b"1", b'{"event_data":2}')),
    "some unusable where all shall be stored": Refused(422, "events_unusable", body_of(EVENT, b"7"), [JSON, STRICT]),
    "the same from a browser": Refused(
        422, "events_unusable", body_of(EVENT, b"7"), [JSON, STRICT, ("Origin", "https://other.example.edu")]
    ),
    "chunks that do not add up": Refused(
        400, "bad_request", b"5\r\nhello world\r\n", [JSON, ("Transfer-Encoding", "chunked")]
    ),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
async def test_a_refused_request_stores_nothing_and_the_next_one_works(
    own_log: SubmissionLog, refused: Refused
) -> None:
    answer = await own_log.post(refused.body, refused.headers, query=refused.query)
    assert (answer.status, answer.code) == (refused.status, refused.code)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers.get("preference-applied") == ("handling=strict" if STRICT in refused.headers else None)
    if refused.code == "content_encoding_unsupported":
        assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"
    assert await own_log.is_empty()


UNUSABLE: Final = {
    b"7": "element_not_object",
    b"null": "element_not_object",
    b"[ ]": "element_not_object",
    b'{"event_data" : 1}': "event_type_missing",
    b'{"event_type":null}': "event_type_missing",
    b'{"event_type":["a"]}': "event_type_invalid",
    b'{"event_type":""}': "event_type_empty",
    b'""': "event_type_empty",
    b'{"event_type":"%b"}' % (b"x" * 256): "event_type_too_long",
    b'{"event_type":"a\\u0000b"}': "event_type_unstorable",
    b'{"event_type":"a","event_type":"\\ud800"}': "event_type_unstorable",
}


async def test_unusable_elements_harm_no_other_and_are_kept_with_reason_and_as_sent(own_log: SubmissionLog) -> None:
    elements = [element for unusable in UNUSABLE for element in (unusable, b'{"event_type":"between"}')]
    answer = await own_log.post(body_of(*elements))
    assert (answer.status, answer.headers["quiz-events-quarantined"]) == (204, str(len(UNUSABLE)))
    assert {event.event_type for event in await stored(own_log, len(UNUSABLE))} == {"between"}
    assert await own_log.quarantined(len(UNUSABLE)) == [
        (2 * number, reason, raw) for number, (raw, reason) in enumerate(UNUSABLE.items())
    ]


async def test_a_form_may_have_unusable_elements_too(own_log: SubmissionLog) -> None:
    body = b"quiz_submission_events[0][event_data]=1&quiz_submission_events[1][event_type]=a"
    answer = await own_log.post(body, [FORM])
    assert (answer.status, answer.headers["quiz-events-quarantined"]) == (204, "1")
    assert await own_log.quarantined(1) == [(0, "event_type_missing", b'{"event_data":"1"}')]
    assert await stored(own_log, 1) == [Shown("a")]


async def test_the_first_hundred_unusable_elements_are_told_by_index_and_all_of_them_counted(
    own_log: SubmissionLog,
) -> None:
    answer = await own_log.post(body_of(*[b"0"] * 101))
    assert answer.status == 422
    summary, *listed = answer.errors
    assert summary == {"message": "101 of the events cannot be stored.", "code": "events_unusable"}
    assert [(error["code"], error["index"]) for error in listed] == [("element_not_object", n) for n in range(100)]
    assert all(error["message"] for error in listed)


async def test_a_page_that_has_nothing_usable_is_not_told_so_that_it_does_not_send_it_for_ever(
    own_log: SubmissionLog,
) -> None:
    for _ in range(2):
        answer = await own_log.post(body_of(b"5"), [TEXT, ("Origin", "https://other.example.edu")])
        assert (answer.status, answer.headers["quiz-events-quarantined"]) == (204, "1")
    assert await own_log.is_empty()
    assert await own_log.quarantined(1) == [(0, "element_not_object", b"5")]


@pytest.mark.parametrize(
    "preference", ["handling=strict", 'respond-async, Handling = "strict"; x=1', "handling=strict, handling=lenient"]
)
async def test_strictness_is_applied_however_it_is_asked_for(own_log: SubmissionLog, preference: str) -> None:
    answer = await own_log.post(body_of(b"5", EVENT), [JSON, ("Prefer", preference)])
    assert (answer.status, answer.headers["preference-applied"]) == (422, "handling=strict")
    assert await own_log.is_empty()


async def test_what_is_sent_again_is_stored_once_whatever_it_is_written_in(own_log: SubmissionLog) -> None:
    event = b'{"event_type":"a","event_data":"x","client_timestamp":"2020-01-01T00:00:00.001Z"}'
    form = (
        b"quiz_submission_events[][event_type]=a&quiz_submission_events[][event_data]=x"
        b"&quiz_submission_events[][client_timestamp]=2020-01-01T00:00:00.001Z"
    )
    for body, headers in ((body_of(event), [JSON]), (body_of(event, event), [TEXT]), (form, [FORM])):
        assert (await own_log.post(body, headers)).status == 204
    assert (await own_log.post(body_of(b'"the last"'))).status == 204
    found = await stored(own_log, 3)
    assert [event.event_type for event in found] == ["a", "a", "the last"]  # equal ones in one request are two


def second(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%S}Z"


STAMPS: Final = {
    b'"2020-03-01T10:30:00.9996666Z"': "2020-03-01T10:30:00Z",
    b'"2020-03-01T10:30:00Z"': "2020-03-01T10:30:00Z",
    b'"2020-03-01T10:30:00.1234567890123+01:00"': "2020-03-01T09:30:00Z",
    b'"2020-03-01T10:30:00-0530"': "2020-03-01T16:00:00Z",
    b'"2020-03-01T10:30:00,5+01"': "2020-03-01T09:30:00Z",
    b'"2020-03-01t10:30:00z"': "2020-03-01T10:30:00Z",
    b'"2020-03-01 10:30:00"': "2020-03-01T10:30:00Z",
    b'"2020-03-01 10:30:00 +0100"': "2020-03-01T09:30:00Z",
    b'"2020-03-01 10:30:00 UTC"': "2020-03-01T10:30:00Z",
    b'"2020-03-01T10:30"': "2020-03-01T10:30:00Z",
    b'"2020-12-31T23:59:60Z"': "2020-12-31T23:59:59Z",
    b'"2000-01-01T00:59:59.5+01:00"': None,
    b'"2000-01-01T00:00:00Z"': "2000-01-01T00:00:00Z",
    b"1583058600": "2020-03-01T10:30:00Z",
    b"1583058600.75": "2020-03-01T10:30:00Z",
    b"1583058600123": "2020-03-01T10:30:00Z",
    b'"1583058600123"': "2020-03-01T10:30:00Z",
    b'"2020\\u002d03-01T10:30:00Z"': "2020-03-01T10:30:00Z",
    b"null": None,
    b'""': None,
    b'"yesterday"': None,
    b'"Sun Mar 01 2020 10:30:00 GMT+0100"': None,
    b'"0001-01-01T00:00:00Z"': None,
    b'"0001-01-01T00:00:00+23:59"': None,
    b'"0000-01-01T00:00:00Z"': None,
    b'"9999-12-31T23:59:59.999999Z"': None,
    b'"9999-12-31T23:59:59.999999-23:59"': None,
    b'"2020-02-30T00:00:00Z"': None,
    b'"2020-03-01T24:00:00Z"': None,
    b'"2020-03-01T10:30:61Z"': None,
    '"\u0662\u0660\u0662\u0660-03-01T10:30:00Z"'.encode(): None,
    b"1e12": None,
    b"-1": None,
    b"1e400": None,
    b"99999999999999999999999999": None,
    b"true": None,
    b'{"a":["2020-03-01T10:30:00Z"]}': None,
    b'"\\u0000\\ud800"': None,
    b'"' + b"2" * 10_000 + b'"': None,
}


async def test_an_event_is_kept_whatever_its_stamp_and_filed_under_it_where_it_is_credible(
    own_log: SubmissionLog,
) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    elements = [b'{"event_type":"%d","client_timestamp":%b}' % stamped for stamped in enumerate(STAMPS)]
    assert (await own_log.post(body_of(*elements))).status == 204
    ended = datetime.now(UTC)
    found = {str(event["event_type"]): event for event in shown(await own_log.read(len(STAMPS)))}
    for number, (sent, expected) in enumerate(STAMPS.items()):
        created = str(found[str(number)]["created_at"])
        if expected is None:
            assert second(began) <= created <= second(ended), sent
        else:
            assert created == expected, sent


@pytest.mark.parametrize(
    ("ahead", "filed"),
    [
        (timedelta(minutes=4), True),
        (timedelta(minutes=6), False),
        (timedelta(days=30), False),
        (timedelta(days=32), False),
        (timedelta(days=-600), True),
    ],
)
async def test_a_clock_ahead_is_believed_for_five_minutes_and_always_shown(
    own_log: SubmissionLog, ahead: timedelta, *, filed: bool
) -> None:
    stamp = (datetime.now(UTC) + ahead).replace(microsecond=0)
    body = body_of(b'{"event_type":"a","client_timestamp":"%b"}' % second(stamp).encode())
    assert (await own_log.post(body)).status == 204
    (event,) = shown(await own_log.read(1, "?include[]=client_timestamp&include[]=received_at"))
    assert event["client_timestamp"] == second(stamp)
    assert event["created_at"] == (second(stamp) if filed else f"{str(event['received_at'])[:19]}Z")


async def test_events_without_an_attempt_join_the_latest_one(own_log: SubmissionLog) -> None:
    sent: list[tuple[bytes, str]] = [
        (b'"one"', ""),
        (b'"three"', "?attempt=3"),
        (b'"three too"', ""),
        (b'"two"', "?attempt=3&attempt=2"),
        (b'"and three"', ""),
    ]
    for element, query in sent:
        assert (await own_log.post(body_of(element), query=query)).status == 204
    assert (await own_log.post(body_of(b'"four"', beside=b',"attempt":"4"'), query="?attempt=3")).status == 204
    assert (await own_log.post(b"attempt=5&quiz_submission_events[]=five", [FORM])).status == 204
    await own_log.read(1, "?attempt=5")
    found = {
        attempt: [event["event_type"] for event in shown(await own_log.get(f"?attempt={attempt}"))]
        for attempt in range(1, 7)
    }
    assert found == {
        1: ["one"], 2: ["two"], 3: ["three", "three too", "and three"], 4: ["four"], 5: ["five"], 6: [],
    }  # fmt: skip


async def test_the_attempt_of_a_token_goes_before_any_other(own_log: SubmissionLog) -> None:
    bound = bearer(POST_SCOPE, attempt=7)
    assert (await own_log.post(body_of(b'"bound"'), token=bound)).status == 204
    assert (await own_log.post(body_of(b'"the same"'), token=bound, query="?attempt=7")).status == 204
    other = await own_log.post(body_of(b'"another"'), token=bound, query="?attempt=8")
    assert (other.status, other.code) == (403, "attempt_forbidden")
    own = bearer(POST_SCOPE, submission_id=own_log.submission)
    opened = await own_log.post(body_of(b'"hidden"', beside=b',"attempt":9999'), token=own)
    assert (opened.status, opened.code) == (403, "attempt_forbidden")
    await own_log.read(2, "?attempt=7")
    assert len(shown(await own_log.get())) == 2  # the latest attempt is still the seventh
