"""POST over real HTTP onto a real Kafka: every row of the table of answers, and what lies in the topics afterwards."""

import json
import re
from pathlib import Path

import aiohttp
import pytest
from tests.gateways import Answer, Api, served, token
from tests.topics import PARTITIONS, Published, make_topics, read_topic
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE
from quizstream.contracts.partitions import partition_of
from quizstream.contracts.topics import quarantine_topic
from quizstream.gateway.topic_check import TopicUnfit
from quizstream.local import kafka as local_kafka
from quizstream.local import ports

STAMP = "2026-11-21T19:24:17.393Z"
EVENT = {"event_type": "page_blurred", "event_data": None, "client_timestamp": STAMP}
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def events(*elements: object) -> dict[str, object]:
    return {"quiz_submission_events": elements}


def codes(answer: Answer) -> list[tuple[str, int | None]]:
    return [(item["code"], item.get("index")) for item in json.loads(answer.body)["errors"]]


async def published(bootstrap_servers: str, topic: str) -> list[Published]:
    return await read_topic(bootstrap_servers, topic)


@pytest.fixture
async def topic(kafka_bootstrap_servers: str, topic_name: str) -> str:
    await make_topics(kafka_bootstrap_servers, topic_name)
    return topic_name


async def test_a_204_means_that_the_events_are_in_the_topic_as_promised(
    kafka_bootstrap_servers: str, topic: str
) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(events(EVENT, {**EVENT, "event_type": "question_viewed", "event_data": ["12", "14"]}))
        assert (answer.status, answer.body) == (204, b"")
        assert "Content-Type" not in answer.headers
    first, second = await published(kafka_bootstrap_servers, topic)
    assert (first.key, first.partition, first.timestamp_type) == (b"7", partition_of(7, PARTITIONS), 1)
    assert list(json.loads(first.value)) == [
        "event_id",
        "event_type",
        "client_timestamp",
        "occurred_at",
        "received_at",
        "course_id",
        "quiz_id",
        "submission_id",
        "attempt",
        "actor",
        "event_data",
    ]
    assert first.member("actor") == "student-1"
    assert first.member("occurred_at") == "2026-11-21T19:24:17.393000Z"
    assert first.headers["ce_source"] == b"/courses/1/quizzes/2/submissions/7"
    assert first.headers["ce_id"].decode() == first.member("event_id")
    assert UUID.fullmatch(first.headers["ce_id"])
    assert second.value.endswith(b',"event_data":["12", "14"]}')
    assert second.offset == first.offset + 1


@pytest.mark.parametrize(
    "data", [b'{"a" : 1e400,"a":2}', b'"\\ud800\\u0000"', b"123456789012345678901234567890", b"[ ]"]
)
async def test_event_data_travels_as_the_bytes_that_were_sent(
    kafka_bootstrap_servers: str, topic: str, data: bytes
) -> None:
    body = b'{"quiz_submission_events":[{"event_type":"a","event_data":%b}]}' % data
    async with served(kafka_bootstrap_servers, topic) as api:
        assert (await api.post(data=body, headers={"Content-Type": "application/json"})).status == 204
    (record,) = await published(kafka_bootstrap_servers, topic)
    assert record.value.endswith(b',"event_data":%b}' % data)


async def test_a_batch_that_is_sent_again_has_the_same_ids(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        await api.post(events(EVENT, EVENT))
        await api.post(events(EVENT, EVENT, {**EVENT, "event_type": "page_focused"}))
    found = [record.headers["ce_id"] for record in await published(kafka_bootstrap_servers, topic)]
    assert found[:2] == found[2:4]
    assert len(set(found)) == 3


async def test_with_recognition_off_every_event_is_a_new_one(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic, recognise_redelivery="off") as api:
        await api.post(events(EVENT))
        await api.post(events(EVENT))
    assert len({record.headers["ce_id"] for record in await published(kafka_bootstrap_servers, topic)}) == 2


async def test_an_empty_batch_is_answered_204_and_stores_nothing(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        assert (await api.post(events())).status == 204
    assert await published(kafka_bootstrap_servers, topic) == []


async def test_unusable_elements_are_quarantined_and_the_others_stored(
    kafka_bootstrap_servers: str, topic: str
) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(events(17, EVENT, {"event_data": 1}))
        assert (answer.status, answer.headers["Quiz-Events-Quarantined"]) == (204, "2")
        assert api.metric("quizstream_events_received_total", outcome="quarantined") == 2
    assert len(await published(kafka_bootstrap_servers, topic)) == 1
    first, second = await published(kafka_bootstrap_servers, quarantine_topic(topic))
    assert (first.member("reason"), first.member("index"), first.value.endswith(b',"raw":17}')) == (
        "element_not_object",
        0,
        True,
    )
    assert (second.member("reason"), second.member("index")) == ("event_type_missing", 2)
    assert first.key == b"7"


async def test_without_a_usable_element_a_script_is_told_which_and_nothing_is_stored(
    kafka_bootstrap_servers: str, topic: str
) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(events(*range(150)))
        assert answer.status == 422
        assert codes(answer)[0] == ("events_unusable", None)
        assert codes(answer)[1:] == [("element_not_object", index) for index in range(100)]
    assert await published(kafka_bootstrap_servers, quarantine_topic(topic)) == []


async def test_without_a_usable_element_a_page_is_not_told(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(events(1), headers={"Origin": "https://canvas.example.edu"})
        assert (answer.status, answer.headers["Quiz-Events-Quarantined"]) == (204, "1")
    assert len(await published(kafka_bootstrap_servers, quarantine_topic(topic))) == 1


async def test_who_asks_for_strictness_gets_all_or_nothing(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        strict = {"Prefer": "respond-async, handling=strict"}
        answer = await api.post(events(EVENT, 1), headers=strict)
        assert (answer.status, answer.headers["Preference-Applied"]) == (422, "handling=strict")
        assert (await api.post(events(EVENT), headers=strict)).status == 204
    assert len(await published(kafka_bootstrap_servers, topic)) == 1
    assert await published(kafka_bootstrap_servers, quarantine_topic(topic)) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", None),
        (b'{"a":1}', "events_missing"),
        (b'{"quiz_submission_events":{}}', "events_not_array"),
        (b'{"quiz_submission_events":[],"attempt":0}', "attempt_invalid"),
        (b'{"quiz_submission_events":["\xff"]}', "not_utf8"),
        (b'{"quiz_submission_events":' + b"[" * 501 + b"]" * 501 + b"}", "too_deep"),
    ],
)
async def test_a_bad_body_is_refused_whole_and_the_next_request_works(
    kafka_bootstrap_servers: str, topic: str, body: bytes, code: str | None
) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(data=body, headers={"Content-Type": "application/json"})
        assert answer.status == 400
        assert code is None or codes(answer) == [(code, None)]
        assert (await api.post(events(EVENT))).status == 204
    assert len(await published(kafka_bootstrap_servers, topic)) == 1


async def test_other_types_codings_and_sizes_are_refused(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        assert (await api.post(data=b"<a/>", headers={"Content-Type": "text/xml"})).status == 415
        coded = await api.post(data=b"x", headers={"Content-Encoding": "br"})
        assert (coded.status, coded.headers["Accept-Encoding"]) == (415, "gzip, deflate, zstd")
        assert (await api.post(data=b" " * (16 * 2**20 + 1))).status == 413
    assert await published(kafka_bootstrap_servers, topic) == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 401),
        ("not-a-token", 401),
        (token(scope=GET_SCOPE), 401),
        (token(course_id=9), 403),
        (token(quiz_id="9"), 403),
        (token(submission_id=9), 403),
    ],
)
async def test_who_may_not_post_stores_nothing(
    kafka_bootstrap_servers: str, topic: str, sent: str | None, status: int
) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(events(EVENT), token=sent)
        assert answer.status == status
    assert await published(kafka_bootstrap_servers, topic) == []


async def test_a_challenge_tells_a_bad_token_from_a_bad_scope(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        assert "WWW-Authenticate" in (await api.post(events(EVENT), token="x.y.z")).headers
        assert "WWW-Authenticate" not in (await api.post(events(EVENT), token=token(scope=""))).headers
        nobody = await api.post(data=b"no events at all", token=None)
        assert (nobody.status, codes(nobody)) == (401, [("token_missing", None)])


async def test_a_beacon_carries_its_token_in_the_body(kafka_bootstrap_servers: str, topic: str) -> None:
    plain = {"Content-Type": "text/plain;charset=UTF-8"}
    path = "courses/1/quizzes/2/submissions/7/events"
    async with served(kafka_bootstrap_servers, topic) as api:
        in_body = json.dumps({**events(EVENT), "access_token": token(submission_id=7)}).encode()
        assert (await api.post(data=in_body, headers=plain, token=None)).status == 204
        large = in_body.ljust(64 * 2**10 + 1)
        assert (await api.post(data=large, headers=plain, token=None)).status == 413
        in_query = f"{path}?access_token={token()}"
        assert (await api.post(events(EVENT), path=in_query, token=None)).status == 204
        wrong_in_body = json.dumps({**events(EVENT), "access_token": "wrong"}).encode()
        assert (await api.post(data=wrong_in_body, path=in_query, token=None)).status == 401  # the body comes first
        assert (await api.post(data=wrong_in_body)).status == 204  # and the header before it
    assert len(await published(kafka_bootstrap_servers, topic)) == 3


@pytest.mark.parametrize(
    ("claims", "query", "beside", "status", "stored"),
    [
        ({}, "", {}, 204, None),
        ({}, "?attempt=3", {}, 204, 3),
        ({}, "?attempt=1&attempt=3", {}, 204, 3),
        ({}, "", {"attempt": 4}, 204, 4),
        ({}, "?attempt=3", {"attempt": "4"}, 204, 4),
        ({"attempt": 2}, "", {}, 204, 2),
        ({"attempt": 2}, "?attempt=2", {}, 204, 2),
        ({"attempt": 2}, "?attempt=3", {}, 403, None),
        ({"submission_id": 7}, "?attempt=9999", {}, 403, None),
        ({}, "?attempt=0", {}, 400, None),
        ({}, "?attempt=", {}, 400, None),
    ],
)
async def test_an_attempt_is_taken_from_who_may_name_it(
    kafka_bootstrap_servers: str,
    topic: str,
    claims: dict[str, object],
    query: str,
    beside: dict[str, object],
    status: int,
    stored: int | None,
) -> None:
    path = f"courses/1/quizzes/2/submissions/7/events{query}"
    async with served(kafka_bootstrap_servers, topic) as api:
        assert (await api.post({**events(EVENT), **beside}, path=path, token=token(**claims))).status == status
    attempts = [record.member("attempt") for record in await published(kafka_bootstrap_servers, topic)]
    assert attempts == ([stored] if status == 204 else [])


async def test_paths_are_those_of_canvas_and_no_others(kafka_bootstrap_servers: str, topic: str) -> None:
    own = token(submission_id=7)
    good = ["7/events/", "7/events.json", "0007/events", "self/events"]
    bad = [
        "0/events",
        "-7/events",
        "7a/events",
        "\u0667/events",
        "9223372036854775808/events",
        "7%2Fa/events",
        "7/event",
    ]
    async with served(kafka_bootstrap_servers, topic) as api:
        for path in good:
            assert (
                await api.post(events(EVENT), path=f"courses/1/quizzes/2/submissions/{path}", token=own)
            ).status == 204
        for path in bad:
            answer = await api.post(events(EVENT), path=f"courses/1/quizzes/2/submissions/{path}")
            assert (answer.status, codes(answer)) == (404, [("not_found", None)])
        assert (await api.post(events(EVENT), path="courses/1~5/quizzes/2/submissions/7/events")).status == 204
        async with api.session.put("/api/v1/courses/1/quizzes/2/submissions/7/events") as other:
            assert (other.status, other.headers["Allow"]) == (405, "OPTIONS, POST")
    found = await published(kafka_bootstrap_servers, topic)
    assert {record.key for record in found} == {b"7"}
    assert found[-1].member("course_id") == str(10**13 + 5)


async def test_a_full_backlog_passes_at_once(kafka_bootstrap_servers: str, topic: str) -> None:
    backlog = events(
        *({**EVENT, "event_data": [str(number)], "event_type": "question_viewed"} for number in range(50_000))
    )
    async with served(kafka_bootstrap_servers, topic) as api:
        answer = await api.post(backlog)
        assert answer.status == 204
        assert api.gateway.budget.held_bytes == 0
    found = await published(kafka_bootstrap_servers, topic)
    assert [record.member("event_data") for record in found] == [[str(number)] for number in range(50_000)]


async def test_the_largest_event_passes_with_others_behind_it(kafka_bootstrap_servers: str, topic: str) -> None:
    large = {**EVENT, "event_data": "x" * (16 * 2**20 - 1_000)}
    async with served(kafka_bootstrap_servers, topic) as api:
        assert (await api.post(events(large, EVENT))).status == 204
    assert [len(record.value) > 2**20 for record in await published(kafka_bootstrap_servers, topic)] == [True, False]


async def test_more_in_flight_than_the_budget_is_refused_at_once(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        with api.gateway.budget.lease(8) as lease:
            lease.resize(256 * 2**20)
            answer = await api.post(events(EVENT))
            assert (answer.status, codes(answer)) == (503, [("overloaded", None)])
            assert answer.headers["Retry-After"].isdecimal()
        assert (await api.post(events(EVENT))).status == 204


@pytest.mark.parametrize(
    ("settings", "named"), [({"partitions": 4}, "partitions"), ({"allow_single_replica": False}, "replicas")]
)
async def test_a_weak_topic_stops_the_start(
    kafka_bootstrap_servers: str, topic: str, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(TopicUnfit, match=named):
        async with served(kafka_bootstrap_servers, topic, **settings):
            pass


async def test_a_missing_topic_or_kafka_stops_the_start(kafka_bootstrap_servers: str, topic_name: str) -> None:
    with pytest.raises(TopicUnfit, match="quizstream migrate"):
        async with served(kafka_bootstrap_servers, topic_name):
            pass
    with pytest.raises(TopicUnfit, match="KAFKA_BOOTSTRAP_SERVERS"):
        async with served(f"127.0.0.1:{ports.any_free()}", topic_name, kafka_patience_seconds=0.5):
            pass


async def test_in_an_outage_the_answer_is_503_within_5_seconds_and_heals_by_itself(
    tmp_path: Path, topic_name: str
) -> None:
    async with local_kafka.broker(tmp_path / "kafka", tmp_path / "logs", ports.any_free()) as engine:
        await make_topics(engine.address, topic_name)
        async with served(engine.address, topic_name) as api:
            assert (await api.post(events(EVENT))).status == 204
            await engine.kill()
            answer = await api.post(events({**EVENT, "event_type": "in the outage"}))
            assert answer.status == 503
            assert answer.seconds < 5
            assert int(answer.headers["Retry-After"]) > 0
            await engine.start()

            async def accepted() -> bool:
                return (await api.post(events({**EVENT, "event_type": "in the outage"}))).status == 204

            await eventually(accepted, seconds=20)
        ids = [record.headers["ce_id"] for record in await published(engine.address, topic_name)]
        assert len(set(ids)) == 2  # what was sent again, whether or not it had been written, is one event


async def test_a_client_that_leaves_does_not_harm_the_next(kafka_bootstrap_servers: str, topic: str) -> None:
    async with served(kafka_bootstrap_servers, topic) as api:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await _leave_early(api)
        assert (await api.post(events(EVENT))).status == 204

        async def nothing_held() -> bool:
            return api.gateway.budget.held_bytes == 0

        await eventually(nothing_held)


async def _leave_early(api: Api) -> None:
    url = "/api/v1/courses/1/quizzes/2/submissions/7/events"
    headers = {"Authorization": f"Bearer {token()}"}
    timeout = aiohttp.ClientTimeout(total=0.001)
    async with api.session.post(url, json=events(*[EVENT] * 2_000), headers=headers, timeout=timeout):
        pass


async def test_a_token_that_posts_too_often_is_told_to_wait_and_stores_nothing_meanwhile(
    kafka_bootstrap_servers: str, topic: str
) -> None:
    async with served(kafka_bootstrap_servers, topic, requests_per_minute_per_token=12) as api:
        answers = [await api.post(events(EVENT)) for _ in range(13)]
        other = await api.post(events(EVENT), token=token(sub="another"))
    assert [answer.status for answer in answers] == [204] * 12 + [429]
    assert codes(answers[-1]) == [("rate_limited", None)]
    assert int(answers[-1].headers["Retry-After"]) >= 15
    assert other.status == 204
    assert len(await published(kafka_bootstrap_servers, topic)) == 13
