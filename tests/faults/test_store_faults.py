"""PostgreSQL killed, cut off, locked and set back while students post."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from tests.acceptance.system import path_of
from tests.faults import observe, plays
from tests.faults.load import Habits, reading_headers
from tests.faults.operating import red
from tests.faults.scenario import Scenario, execute
from tests.faults.verdict import Row
from tests.waiting import eventually, scaled

from quizstream.local.packages import POSTGRES_BINARIES

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)
END_OURS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name LIKE 'quizstream-%' AND datname = current_database()
"""
_STORING = "FROM pg_locks WHERE NOT granted AND relation = 'quiz_submission_events'::regclass"
STORING_WAITS = f"SELECT count(*) {_STORING}"
CANCEL_STORING = f"SELECT count(pg_cancel_backend(pid)) {_STORING}"


@pytest.mark.gate
@pytest.mark.faults(broken="postmaster killed with SIGKILL, twice, and started again")
async def test_a_killed_store_comes_back_with_everything(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    server = scenario.deployment.stage.postgres
    for _ in range(2):
        await scenario.acked(150)
        await server.kill()
        scenario.did("PostgreSQL killed")
        await scenario.acked(150)  # posting goes on without it
        await server.start()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="every session of the worker terminated, 15 times")
async def test_terminated_sessions_lose_and_double_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        for _ in range(15):
            await scenario.acked(scenario.chance.randint(20, 150))
            await session.execute(plays.END_SESSIONS)
            scenario.did("sessions terminated")
        await scenario.healed()
    finally:
        await session.close()
    await scenario.finish()


@pytest.mark.faults(broken="the table of events locked for 20 s")
async def test_a_locked_table_is_waited_for(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        async with session.transaction():
            await session.execute("LOCK TABLE quiz_submission_events IN ACCESS EXCLUSIVE MODE")
            scenario.did("table locked")
            await asyncio.sleep(20)  # the fault lasts that long
        await scenario.healed()
    finally:
        await session.close()
    await scenario.finish()


@pytest.mark.faults(broken="link to the store: slow, throttled, half open, cut, reset")
async def test_a_bad_link_to_the_store_is_survived(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    link = scenario.deployment.stage.links["worker-postgres"]
    link.delay_seconds = 0.05
    scenario.did("50 ms more")
    await scenario.acked(400)
    link.delay_seconds, link.bytes_per_second = 0.0, 50_000
    scenario.did("50 kB/s")
    await scenario.acked(400)
    for name, fault in (("half open", link.half_open), ("cut", link.cut)):
        fault()
        scenario.did(f"link {name}")
        await scenario.acked(800)
        link.heal()
        await scenario.healed()
    for _ in range(5):
        link.reset()
        scenario.did("connections reset")
        await scenario.acked(100)
    await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="server read-only for 6 s")
async def test_a_read_only_store_puts_nothing_into_quarantine(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    database = scenario.deployment.database
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        await session.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await session.execute(plays.END_SESSIONS)
        scenario.did("read-only")
        await asyncio.sleep(6)  # the fault lasts that long: more than ten failures of a flush
        await session.execute("SET default_transaction_read_only = off")
        await session.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await session.execute(plays.END_SESSIONS)
        await scenario.healed()
    finally:
        await session.close()
    await scenario.finish()


@pytest.mark.faults(broken="store set back to an older dump; 10,000 more events were taken meanwhile")
async def test_a_restored_store_gets_the_same_rows_under_the_same_ids_from_the_topic(
    scenario: Scenario, tmp_path: Path
) -> None:
    deployment = scenario.deployment
    await scenario.start()
    scenario.begin_load(Habits(students=40, events_each=20_000, longest_pause_seconds=0.2))
    await scenario.acked(2_000)
    dump = tmp_path / "dumps"
    await _tool("pg_dump", "--format=directory", f"--file={dump}", deployment.database_url)
    scenario.did("dump taken")
    await scenario.acked(10_000)
    await scenario.until_posted()
    await scenario.caught_up()
    before = await _rows(deployment.database_url)
    await deployment.worker.kill()
    await deployment.reader.terminate()
    async with scenario.watch.set_back():
        await execute(deployment.stage, f"DROP DATABASE {deployment.database} WITH (FORCE)")
        await execute(deployment.stage, f"CREATE DATABASE {deployment.database}")
        await _tool("pg_restore", "--exit-on-error", f"--dbname={deployment.database_url}", str(dump))
    scenario.did("store restored")
    restored = await _rows(deployment.database_url)
    assert len(restored) <= len(before) - 8_000
    await deployment.worker.spawn()
    await scenario.healed()
    await scenario.caught_up()
    assert await _rows(deployment.database_url) == before
    await scenario.finish()
    shutil.rmtree(dump)


@pytest.mark.faults(broken="store set back under a worker that goes on, as by a failover; nobody posts any more")
async def test_a_store_set_back_is_filled_again_without_a_new_event(scenario: Scenario) -> None:
    await plays.set_back(scenario)


async def _rows(database_url: str) -> list[Row]:
    session = await asyncpg.connect(database_url)
    try:
        return await observe.rows(session)
    finally:
        await session.close()


async def _tool(name: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(POSTGRES_BINARIES / name, *arguments)
    assert await asyncio.wait_for(process.wait(), scaled(60)) == 0


@pytest.mark.faults(broken="every connection of the server taken by others, for more than 10 s")
async def test_a_server_without_a_free_connection_is_waited_for(scenario: Scenario) -> None:
    deployment = scenario.deployment
    await scenario.start()
    await deployment.reader.until_ready()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    async with _crowded(deployment.database_url):
        scenario.did("no connection is free")
        await red(scenario, deployment.worker, "postgresql")
        await red(scenario, deployment.reader, "postgresql")
        async with scenario.client.get(deployment.reader.url + path_of(1), headers=reading_headers()) as answer:
            assert answer.status == 503
        await scenario.acked(200)  # posting goes on
    await scenario.healed()
    await deployment.reader.until_ready()
    await deployment.worker.until_ready()
    await scenario.finish()


@pytest.mark.faults(broken="14 deadlocks in a row inside COPY, then 14 COPYs cancelled as by a time-out")
async def test_deadlocks_and_time_outs_are_no_fault_of_an_event(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(200)
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        for _ in range(14):
            await _stand_in_the_way(session, "SELECT FROM topic_offsets FOR UPDATE")
            scenario.did("deadlock")
        assert scenario.deployment.worker.log.read_text().count("40P01") >= 12
        await scenario.healed()
        for _ in range(14):
            await _stand_in_the_way(session, CANCEL_STORING)
            scenario.did("statement cancelled")
    finally:
        await session.close()
    await scenario.healed()
    await scenario.finish()


@asynccontextmanager
async def _crowded(database_url: str) -> AsyncIterator[None]:
    """Take every connection there is, those of our services as well."""
    sessions = [await asyncpg.connect(database_url)]
    try:
        while await sessions[0].fetchval(END_OURS):
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    sessions.append(await asyncpg.connect(database_url))
        yield
    finally:
        for session in sessions:
            session.terminate()


async def _stand_in_the_way(session: "asyncpg.Connection[asyncpg.Record]", statement: str) -> None:
    """Hold what COPY wants, and when it waits do something: want what the worker holds, so that the server ends its
    wait and not ours, or cancel it.
    """

    async def waits() -> bool:
        return bool(await session.fetchval(STORING_WAITS))

    await session.execute("SET deadlock_timeout = '60s'")
    async with session.transaction():
        await session.execute("LOCK TABLE quiz_submission_events IN SHARE MODE")
        await eventually(waits)
        await session.execute(statement)
