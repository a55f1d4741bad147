"""The canary as a process, beside the others: what it sees of them, and what others see of it."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer
from tests import schemas
from tests.acceptance.system import AUDIENCE, ISSUER, SECRET, Command, System, path_of, run, token
from tests.waiting import eventually, scaled

from quizstream.contracts.canaries import FIRST_RESERVED_ID
from quizstream.contracts.resources import MAX_ID
from quizstream.local import ports

READABLE = "quizstream_canary_readable_seconds"


@asynccontextmanager
async def canary(system: System, **settings: str) -> AsyncIterator[Command]:
    admin_port = ports.any_free()
    own = {
        "QUIZSTREAM_CANARY_POST_URL": system.gateway.url,
        "QUIZSTREAM_CANARY_GET_URL": system.reader.url,
        "QUIZSTREAM_CANARY_INTERVAL_SECONDS": "1",
        "QUIZSTREAM_ADMIN_PORT": str(admin_port),
        **settings,
    }
    address = f"http://127.0.0.1:{admin_port}"
    log = system.worker.log.with_name("canary.log")
    command = Command("canary", {**system.gateway.environment, **own}, "", address, log)
    await command.start()
    try:
        yield command
    finally:
        assert await command.terminate() == 0


async def failing(command: Command) -> object:
    """The dead hops by `/readyz`."""

    def ask() -> Mapping[str, object]:
        try:
            with urllib.request.urlopen(f"{command.admin_url}/readyz", timeout=2) as answer:
                found: Mapping[str, object] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            found = json.loads(error.read())
        return found

    return (await asyncio.to_thread(ask))["failing"]


async def metric(command: Command, name: str) -> float:
    def ask() -> str:
        with urllib.request.urlopen(f"{command.admin_url}/metrics", timeout=2) as answer:
            return str(answer.read().decode())

    lines = (await asyncio.to_thread(ask)).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def until_failing(command: Command, *hops: str) -> None:
    async def so() -> bool:
        return await failing(command) == list(hops)

    await eventually(so, 60)


async def test_canaries_arrive_and_consumers_that_keep_the_contract_skip_them(system: System) -> None:
    async with canary(system) as command:

        async def three() -> bool:
            return await metric(command, f"{READABLE}_count") >= 3

        await eventually(three, 30)
        assert await metric(command, f"{READABLE}_sum") < scaled(5)
        assert await metric(command, "quizstream_canary_failures_total") == 0
    document = schemas.document("asyncapi.json")
    headers = schemas.validator(schemas.members(document, "components", "messages", "canary", "headers"))
    value = schemas.validator(schemas.document("event-record.schema.json"))
    async with AIOKafkaConsumer(
        system.topic, bootstrap_servers=system.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        record = await asyncio.wait_for(consumer.getone(), scaled(20))
    headers.validate({name: content.decode() for name, content in record.headers})
    value.validate(json.loads(record.value))
    assert int(record.key) >= FIRST_RESERVED_ID


async def test_the_dead_hop_is_named_until_it_is_alive(system: System) -> None:
    async with canary(system, QUIZSTREAM_CANARY_PATIENCE_SECONDS="2") as command:
        await system.worker.kill()
        await until_failing(command, "store")
        await system.worker.start()
        await until_failing(command)
        await system.reader.kill()
        await until_failing(command, "get")
        await system.gateway.kill()
        await until_failing(command, "post", "get")
        await system.reader.start()
        await system.gateway.start()
        await until_failing(command)
        assert await metric(command, "quizstream_canary_failures_total") > 2


@pytest.mark.parametrize("submission", [FIRST_RESERVED_ID, MAX_ID])
async def test_to_clients_reserved_submissions_are_unknown(
    shared_system: System, client: aiohttp.ClientSession, submission: int
) -> None:
    body = {"quiz_submission_events": [{"event_type": "a"}]}
    headers = {"Authorization": f"Bearer {token()}"}
    posted = await client.post(shared_system.gateway.url + path_of(submission), json=body, headers=headers)
    read = await client.get(shared_system.reader.url + path_of(submission), headers=headers)
    for answer in (posted, read):
        assert (answer.status, (await answer.json())["errors"][0]["code"]) == (404, "not_found")


async def test_a_token_of_canaries_is_printed_and_opens_nothing_else(
    shared_system: System, client: aiohttp.ClientSession
) -> None:
    named = {"QUIZSTREAM_JWT_SECRET": SECRET, "QUIZSTREAM_JWT_ISSUER": ISSUER, "QUIZSTREAM_JWT_AUDIENCE": AUDIENCE}
    printed = (await run("token", "--scope", "canary", environment=named)).strip()
    headers = {"Authorization": f"Bearer {printed}"}
    url = shared_system.reader.url
    assert (await client.get(url + path_of(MAX_ID), headers=headers)).status == 200
    assert (await client.get(url + path_of(7), headers=headers)).status == 403


async def test_without_an_address_or_a_key_there_is_no_start() -> None:
    printed = await run("canary", environment={"QUIZSTREAM_JWT_SECRET": SECRET}, status=2)
    assert "QUIZSTREAM_PUBLIC_URL" in printed
    printed = await run("canary", environment={"QUIZSTREAM_PUBLIC_URL": "http://127.0.0.1:9"}, status=2)
    assert "QUIZSTREAM_CANARY_TOKEN" in printed
