"""`/metrics` of the real processes is what the published list of metrics says."""

import asyncio
import urllib.request
from collections.abc import Sequence
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.system import Command, System, path_of, token
from tests.acceptance.test_canary import canary
from tests.waiting import eventually

from quizstream.contracts import metrics
from quizstream.contracts.metrics import Metric

EVERY: Final = (*metrics.PROCESS_METRICS, *metrics.COLLECTED_METRICS)
API: Final = (*EVERY, *metrics.HTTP_METRICS)
# These have labels, and no series before what they count has happened: a replica read, a connection closed by us.
SELDOM: Final = {metrics.READINGS.name, metrics.HTTP_CONNECTIONS_CLOSED.name}
BODY: Final = {
    "quiz_submission_events": [
        {"event_type": "page_blurred", "client_timestamp": "2026-11-21T10:00:00.123Z"},
        {"event_type": ""},
    ]
}


async def shown(command: Command) -> str:
    def ask() -> str:
        with urllib.request.urlopen(f"{command.admin_url}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(ask)


async def check(command: Command, listed: Sequence[Metric]) -> None:
    """Wait until every metric of the list has a series, and no other is there; type and labels are those listed."""

    async def so() -> bool:
        found = {
            f"{family.name}_total" if family.type == "counter" else family.name: family
            for family in text_string_to_metric_families(await shown(command))
        }
        assert {name: family.type for name, family in found.items()} == {one.name: one.kind for one in listed}
        for metric in listed:
            labels = {frozenset(sample.labels) - {"le"} for sample in found[metric.name].samples}
            assert labels == {frozenset(metric.labels)} or (not labels and metric.name in SELDOM), metric.name
        return True

    await eventually(so, 30)


async def test_every_process_shows_the_metrics_of_the_list_and_no_others(
    system: System, client: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    async with client.post(system.gateway.url + path_of(7), json=BODY, headers=headers) as answer:
        assert answer.status == 204
    async with client.get(system.reader.url + path_of(7), headers=headers) as answer:
        assert answer.status == 200
    await check(system.gateway, (*API, *metrics.GATEWAY_METRICS))
    await check(system.worker, (*EVERY, *metrics.WORKER_METRICS))
    await check(system.reader, (*API, *metrics.READER_METRICS))
    async with canary(system) as command:
        await check(command, (*EVERY, *metrics.CANARY_METRICS))
