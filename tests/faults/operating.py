"""What an operator sees of a deployment and does to its broker, and posts of a single page."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DeleteGroupsRequest
from tests.faults.ledger import Element, Request
from tests.faults.load import Habits, Student
from tests.faults.scenario import Scenario
from tests.faults.services import Deployment, Service
from tests.waiting import eventually


@dataclass
class Page(Student):
    """A student whose every request is told."""

    async def post(self, elements: Sequence[Element], attempt: int | None = None) -> Request:
        """Send once, as of an attempt, and note in the ledger what came of it."""
        self._attempt = attempt
        return await self._send(elements)

    async def deliver(self, elements: Sequence[Element], attempt: int | None = None) -> None:
        """Send until it is taken."""

        async def taken() -> bool:
            return (await self.post(elements, attempt)).outcome == "acked"

        await eventually(taken, 30)


def page(scenario: Scenario, submission: int) -> Page:
    """A page of a submission that no student of the load has."""
    habits = Habits(impatient=0.0, loses_the_answer=0.0)
    return Page(submission, habits, scenario.ledger, scenario.client, [scenario.deployment.gateway], scenario.chance)


async def asked(scenario: Scenario, service: Service, path: str) -> tuple[int, str]:
    """Status and text of an answer of the admin port."""
    limit = aiohttp.ClientTimeout(total=5)
    async with scenario.client.get(f"{service.admin_url}{path}", timeout=limit) as answer:
        return answer.status, await answer.text()


async def red(scenario: Scenario, service: Service, hop: str) -> None:
    """Wait until `/readyz` is red for this hop and no other."""

    async def names_it() -> bool:
        try:
            status, text = await asked(scenario, service, "/readyz")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False  # it has not started yet
        return status == 503 and json.loads(text)["failing"] == [hop]

    await eventually(names_it, 30)
    scenario.note(f"{service.name} not ready: {hop}")


async def metric(scenario: Scenario, service: Service, name: str) -> float:
    """The value of a metric without labels."""
    _, text = await asked(scenario, service, "/metrics")
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"no {name}"
    return float(found[1])


async def gain_partitions(deployment: Deployment, count: int) -> None:
    """Let both topics have so many."""
    async with _admin(deployment) as admin:
        wanted = dict.fromkeys((deployment.topic, f"{deployment.topic}.quarantine"), NewPartitions(count))
        answer = await admin.create_partitions(wanted)
    for _, code, *_ in answer.topic_errors:
        _check(code)
    deployment.partitions = count


async def set_topic(deployment: Deployment, settings: Mapping[str, str]) -> None:
    """Change settings of the topic of events, and leave the others as they are."""
    async with _admin(deployment) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, deployment.topic)
        (described,) = await admin.describe_configs([resource])
        entries = described.resources[0][4]
        own = {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC}
        changed = ConfigResource(ConfigResourceType.TOPIC, deployment.topic, configs={**own, **settings})
        for answer in await admin.alter_configs([changed]):
            for code, *_ in answer.resources:
                _check(code)


async def delete_group(deployment: Deployment, group: str) -> None:
    """Forget a consumer group with its offsets, once the last member has left."""
    async with _admin(deployment) as admin:

        async def deleted() -> bool:
            answer = await admin._send_request(DeleteGroupsRequest([group]), await admin.find_coordinator(group))
            ((_, code),) = answer.results
            assert not code, for_code(code).__name__
            return True

        await eventually(deleted, 20)


async def delete_records(deployment: Deployment, partition: int, before_offset: int) -> None:
    """Let the log of the topic of events begin later."""
    key = TopicPartition(deployment.topic, partition)
    async with _admin(deployment) as admin:
        await admin.delete_records({key: RecordsToDelete(before_offset)})


async def log_begin(deployment: Deployment, partition: int) -> int:
    """Where the log of a partition of the topic of events begins."""
    key = TopicPartition(deployment.topic, partition)
    async with AIOKafkaConsumer(bootstrap_servers=deployment.stage.bootstrap_servers) as consumer:
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets([key])
    return begins[key]


_OF_THE_TOPIC = 1  # ConfigSource DYNAMIC_TOPIC_CONFIG of Kafka's protocol


@asynccontextmanager
async def _admin(deployment: Deployment) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.stage.bootstrap_servers)
    try:
        async with asyncio.timeout(10):
            await admin.start()
        yield admin
    finally:
        await admin.close()


def _check(code: int) -> None:
    if code:
        raise for_code(code)
