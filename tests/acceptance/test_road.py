"""The whole road with real processes: from a POST to a GET, whatever is killed on the way."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import aiohttp
import orjson
from tests.acceptance.system import System, path_of, token
from tests.waiting import eventually

from quizstream.contracts.access import GET_SCOPE, POST_SCOPE

START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def batch(numbers: range) -> bytes:
    return orjson.dumps(
        {
            "quiz_submission_events": [
                {
                    "client_timestamp": (START + timedelta(milliseconds=number)).isoformat(timespec="milliseconds"),
                    "event_type": "question_viewed",
                    "event_data": {"number": number},
                }
                for number in numbers
            ]
        }
    )


async def post(client: aiohttp.ClientSession, system: System, submission: int, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {token(POST_SCOPE)}", "Content-Type": "application/json"}
    async with client.post(system.gateway.url + path_of(submission), data=body, headers=headers) as answer:
        return answer.status


async def post_until_taken(client: aiohttp.ClientSession, system: System, submission: int, body: bytes) -> None:
    """As the browser does: the same bytes again until there is a 2xx."""

    async def taken() -> bool:
        return await post(client, system, submission, body) == 204

    await eventually(taken, 60)


async def read(client: aiohttp.ClientSession, system: System, submission: int) -> list[dict[str, object]]:
    headers = {"Authorization": f"Bearer {token(GET_SCOPE)}"}
    url = system.reader.url + path_of(submission)
    async with client.get(url, params={"per_page": "10000"}, headers=headers) as answer:
        assert answer.status == 200
        events: list[dict[str, object]] = orjson.loads(await answer.read())["quiz_submission_events"]
        return events


async def test_ten_thousand_events_survive_two_kills_of_the_worker_once_and_in_order(
    system: System, client: aiohttp.ClientSession
) -> None:
    submissions, events_each, events_per_request = 200, 50, 10
    acknowledged = 0

    async def student(submission: int) -> None:
        nonlocal acknowledged
        for first in range(0, events_each, events_per_request):
            body = batch(range(first, first + events_per_request))
            await post_until_taken(client, system, submission, body)
            acknowledged += events_per_request
            if first == 20:  # the answer is lost on the way: the same batch comes again
                await post_until_taken(client, system, submission, body)

    async def killer() -> None:
        for reached in (2_000, 5_000):

            async def far_enough(reached: int = reached) -> bool:
                return acknowledged >= reached

            await eventually(far_enough, 60)
            await system.worker.kill()
            await system.worker.start()

    await asyncio.gather(killer(), *(student(submission) for submission in range(1, submissions + 1)))

    expected = [{"number": number} for number in range(events_each)]
    for submission in range(1, submissions + 1):

        async def complete(submission: int = submission) -> bool:
            return len(await read(client, system, submission)) >= events_each

        await eventually(complete, 60)
        events = await read(client, system, submission)
        assert [event["event_data"] for event in events] == expected
        ids = [int(str(event["id"])) for event in events]
        assert ids == sorted(set(ids))


async def test_an_event_is_readable_soon_after_its_204(system: System, client: aiohttp.ClientSession) -> None:
    assert await post(client, system, 1, batch(range(1))) == 204

    async def readable() -> bool:
        return len(await read(client, system, 1)) == 1

    await eventually(readable, 5)


async def test_accepted_requests_are_not_lost_when_the_gateway_is_told_to_stop(
    system: System, client: aiohttp.ClientSession
) -> None:
    taken: list[int] = []

    async def student(submission: int) -> None:
        try:
            if await post(client, system, submission, batch(range(5))) == 204:
                taken.append(submission)
        except aiohttp.ClientError:
            return

    posting = [asyncio.create_task(student(submission)) for submission in range(1, 101)]

    async def under_way() -> bool:
        return bool(taken)

    await eventually(under_way, 20)
    assert await system.gateway.terminate() == 0
    await asyncio.gather(*posting)
    for submission in taken:

        async def complete(submission: int = submission) -> bool:
            return len(await read(client, system, submission)) == 5

        await eventually(complete, 30)


async def test_sigterm_ends_each_process_in_order_with_status_zero(system: System) -> None:
    for command in system.commands:
        assert await command.terminate() == 0, command.log.read_text()


async def test_logs_hold_neither_answers_nor_tokens(system: System, client: aiohttp.ClientSession) -> None:
    secret_answer = "the answer is forty-two"
    event = {"event_type": "question_answered", "event_data": {"answer": secret_answer}}
    body = orjson.dumps({"quiz_submission_events": [event, {"event_data": secret_answer}, 7]})
    url = system.gateway.url + path_of(1)
    used = token(POST_SCOPE)
    headers = {"Content-Type": "application/json"}
    async with client.post(url, params={"access_token": used}, data=body, headers=headers) as answer:
        assert answer.status == 204

    async def stored() -> bool:
        return len(await read(client, system, 1)) == 1

    await eventually(stored)
    for command in system.commands:
        await command.terminate()
        text = command.log.read_text()
        assert text
        assert secret_answer not in text
        assert not re.search(r"eyJ[\w-]+\.", text)


async def test_metrics_tell_what_was_received_stored_and_recognised(
    system: System, client: aiohttp.ClientSession
) -> None:
    for _ in range(2):
        assert await post(client, system, 1, batch(range(7))) == 204

    async def counted() -> bool:
        async with client.get(f"{system.worker.admin_url}/metrics") as answer:
            text = await answer.text()
        return "quizstream_events_stored_total 7.0" in text and "quizstream_events_deduplicated_total 7.0" in text

    await eventually(counted)
    async with client.get(f"{system.gateway.admin_url}/metrics") as answer:
        assert 'quizstream_events_received_total{outcome="accepted"} 14.0' in await answer.text()
