"""The three services, each under an account that may do what it does and no more."""

from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import asyncpg
import orjson
from tests.acceptance import system
from tests.accounts import account, url_for
from tests.waiting import eventually

from quizstream.worker.months import month_of, partition_name
from quizstream.worker.rights import OPERATOR, READER, WRITER


async def test_events_travel_under_least_privilege_and_months_are_made(
    kafka_bootstrap_servers: str, postgres_url: str, database_url: str, topic_name: str, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database_url)
    missing = partition_name(month_of(datetime.now(UTC), 3))
    with (
        account(postgres_url, WRITER) as writing,
        account(postgres_url, READER) as reading,
        account(postgres_url, OPERATOR) as operating,
    ):
        own = {
            "gateway": {"QUIZSTREAM_DATABASE_URL": ""},
            "worker": {"QUIZSTREAM_DATABASE_URL": url_for(database_url, writing)},
            "reader": {"QUIZSTREAM_DATABASE_URL": url_for(database_url, reading)},
        }
        headers = {"Authorization": f"Bearer {system.token()}"}
        async with (
            system.running(kafka_bootstrap_servers, database_url, topic_name, tmp_path, own_settings=own) as running,
            aiohttp.ClientSession(headers=headers) as client,
        ):
            stamped = {"event_type": "page_blurred", "client_timestamp": "2026-11-21T10:00:00.123Z"}
            body = {"quiz_submission_events": [stamped, {"event_type": ""}]}
            for _ in range(2):  # the second is recognised: a lookup, a merge
                async with client.post(running.gateway.url + system.path_of(7), json=body) as answer:
                    assert answer.status == 204

            async def settled() -> bool:
                async with client.get(f"{running.worker.admin_url}/metrics") as shown:
                    return "quizstream_events_deduplicated_total 1.0" in await shown.text()

            await eventually(settled)
            async with client.get(running.reader.url + system.path_of(7)) as answer:
                assert len(orjson.loads(await answer.read())["quiz_submission_events"]) == 1
            await running.worker.terminate()
            await owner.execute(f"DROP TABLE {missing}")
            await running.worker.start()

            async def made() -> bool:
                found: bool = await owner.fetchval("SELECT to_regclass($1) IS NOT NULL", missing)
                return found

            await eventually(made)
            tools = {**running.worker.environment, "QUIZSTREAM_DATABASE_URL": url_for(database_url, operating)}
            sent = await system.run("quarantine", "replay", "--set-event-type", "page_left", environment=tools)
            assert sent == "sent again: 1\n"

            async def replayed() -> bool:
                async with client.get(running.reader.url + system.path_of(7)) as answer:
                    return len(orjson.loads(await answer.read())["quiz_submission_events"]) == 2

            await eventually(replayed)
    await owner.close()
