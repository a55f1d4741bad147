"""Consumers that know the published contract and nothing of the code."""

import asyncio
import json
import subprocess

import aiohttp
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.partitioner import murmur2
from tests import schemas
from tests.acceptance.system import System, path_of, token
from tests.programs import require_program
from tests.waiting import scaled

BODY = b"""{"quiz_submission_events":[
    {"event_type":"a","client_timestamp":"2026-01-01T00:00:00.001Z","event_data":{ "big": 12345678901234567890123 }},
    {"event_type":"b,\\"event_data\\":","event_data":[1e400,"\\u0000"]},
    {"event_data":"no type"}
]}"""


async def post(client: aiohttp.ClientSession, system: System, submission: int) -> None:
    headers = {"Authorization": f"Bearer {token(attempt=2)}", "Content-Type": "application/json"}
    async with client.post(system.gateway.url + path_of(submission), data=BODY, headers=headers) as answer:
        assert (answer.status, answer.headers["Quiz-Events-Quarantined"]) == (204, "1")


async def consume(system: System, topic: str, submission: int, count: int) -> list[ConsumerRecord]:
    """The first records of a submission, read from the start of the topic."""
    found: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=system.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        while len(found) < count:
            record = await asyncio.wait_for(consumer.getone(), scaled(20))
            if record.key == b"%d" % submission:
                found.append(record)
    return found


class Subscription:
    """What `asyncapi.json` says about a channel: all that a consumer was given."""

    def __init__(self, channel: str) -> None:
        document = schemas.document("asyncapi.json")
        described = schemas.members(document, "channels", channel)
        self.address = str(described["address"])
        # What else a channel has, its `ce_type` tells consumers to skip.
        reference = schemas.member(next(iter(schemas.members(described, "messages").values())), "$ref")
        message = schemas.members(document, *str(reference).removeprefix("#/").split("/"))
        self.headers = schemas.validator(schemas.members(message, "headers"))
        self.key = schemas.validator(schemas.members(message, "bindings", "kafka", "key"))
        payload = schemas.document(str(schemas.member(message, "payload", "schema", "$ref")))
        self.value = schemas.validator(payload)
        self.last_member = list(schemas.members(payload, "properties"))[-1]

    def read(self, record: ConsumerRecord) -> schemas.Document:
        """Check all of a record and give its value."""
        headers = {name: content.decode() for name, content in record.headers}
        assert len(headers) == len(record.headers)
        self.headers.validate(headers)
        self.key.validate(record.key.decode())
        value: schemas.Document = json.loads(record.value)
        self.value.validate(value)
        assert list(value)[-1] == self.last_member
        return value


async def test_a_consumer_with_nothing_but_the_published_contract_reads_the_events(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    subscription = Subscription("events")
    assert subscription.address == "quiz-submission-events"  # the tests' topics have names of their own
    await post(client, shared_system, submission)
    first, second = await consume(shared_system, shared_system.topic, submission, 2)
    for record in (first, second):
        value = subscription.read(record)
        headers = {name: content.decode() for name, content in record.headers}
        assert record.timestamp_type == 1  # LogAppendTime
        assert headers["ce_id"] == value["event_id"]
        assert headers["ce_time"] == value["occurred_at"]
        assert headers["ce_source"] == f"/courses/1/quizzes/2/submissions/{submission}"
        assert (value["submission_id"], value["attempt"]) == (str(submission), 2)
    assert first.value.endswith(b',"event_data":{ "big": 12345678901234567890123 }}')
    assert second.value.endswith(b',"event_data":[1e400,"\\u0000"]}')


async def test_events_of_a_submission_lie_in_the_partition_that_the_contract_tells(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    """With aiokafka's own murmur2, as a consumer would compute which partition to read."""
    await post(client, shared_system, submission)
    (record, _) = await consume(shared_system, shared_system.topic, submission, 2)
    partitions = schemas.member(
        schemas.document("asyncapi.json"), "channels", "events", "bindings", "kafka", "partitions"
    )
    assert isinstance(partitions, int)
    assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % partitions


async def test_the_quarantine_topic_holds_what_could_not_be_stored(
    shared_system: System, submission: int, client: aiohttp.ClientSession
) -> None:
    subscription = Subscription("quarantine")
    suffix = subscription.address.removeprefix(Subscription("events").address)
    await post(client, shared_system, submission)
    (record,) = await consume(shared_system, shared_system.topic + suffix, submission, 1)
    value = subscription.read(record)
    assert dict(record.headers)["ce_id"].decode() == value["quarantine_id"]
    assert (value["reason"], value["index"], value["raw"]) == ("event_type_missing", 2, {"event_data": "no type"})


async def test_kcat_reads_the_topic(shared_system: System, submission: int, client: aiohttp.ClientSession) -> None:
    kcat = require_program("kcat")
    await post(client, shared_system, submission)
    options = ["-C", "-b", shared_system.bootstrap_servers, "-t", shared_system.topic, "-e", "-q", "-f", "%k|%h|%s\n"]
    kcat_run = await asyncio.create_subprocess_exec(kcat, *options, stdout=subprocess.PIPE)
    printed, _ = await asyncio.wait_for(kcat_run.communicate(), scaled(30))
    ours = [line.split("|", 2) for line in printed.decode().splitlines() if line.startswith(f"{submission}|")]
    assert len(ours) == 2
    for _, headers, value in ours:
        assert "ce_type=org.quizstream.submission.event.v1" in headers
        assert json.loads(value)["submission_id"] == str(submission)
