"""Measuring whoever writes rows, from the first that are stored to the last: starting up does not count."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
from tests import databases
from tests.acceptance.system import COMMAND
from tests.benchmarks import storage
from tests.benchmarks.consumption import Processes, Watch
from tests.benchmarks.cores import Cores, working_on
from tests.benchmarks.measurement import UNDER_TEST, Measurement
from tests.benchmarks.prefill import Topic
from tests.benchmarks.rows import COLUMNS, TABLE
from tests.benchmarks.scene import ROOT, Deployment, Scene
from tests.waiting import scaled

from quizstream.local.packages import POSTGRES_BINARIES
from quizstream.local.processes import Program

PSQL = POSTGRES_BINARIES / "psql"
_LOOK_EVERY_SECONDS = 0.02
_GIVE_UP_AFTER_SECONDS = 300.0

Progress = AsyncGenerator[int, None]
"""The number of records done so far, told whenever it has grown."""


async def measured(progress: Progress, records: int, watched: Processes, *, after: int = 0) -> Measurement:
    """Measure from the first time that more than `after` records are done until `records` are.

    Raises:
        RuntimeError: whoever writes has ended before.

    """
    watch = Watch(watched)
    begun_with: int | None = None
    async with asyncio.timeout(scaled(_GIVE_UP_AFTER_SECONDS)), aclosing(progress):
        async for done in progress:
            if begun_with is None and done >= after:
                watch.begin()
                begun_with = done
            elif begun_with is not None and done >= records:
                consumed = watch.end()
                rows = done - begun_with
                return Measurement(
                    work=rows,
                    wall_seconds=consumed.wall_seconds,
                    cpu_seconds=consumed.cpu_seconds,
                    peak_rss_bytes=consumed.peak_rss_bytes,
                    # What one side saves must not be what the other pays.
                    others={"cpu_us_together": 1e6 * sum(consumed.cpu_seconds.values()) / rows},
                )
    raise RuntimeError("the writer has ended before its work was done")


async def measure_worker(
    scene: Scene, deployment: Deployment, database: str, topic: Topic, *, after: int = 1
) -> Measurement:
    """Let `quizstream worker` write a topic into a copy of a database, and count what came of it.

    Raises:
        RuntimeError: the table has gained more or fewer rows than there are different events in the topic.

    """
    async with storage.copied(scene.postgres_url, database) as url:
        before = await storage.contents(url)
        environment = {
            **deployment.environment,
            "QUIZSTREAM_DATABASE_URL": url,
            "QUIZSTREAM_TOPIC": topic.name,
            "QUIZSTREAM_CONSUMER_GROUP": databases.unique("bench"),
            "QUIZSTREAM_ADMIN_PORT": "0",
        }
        # Ready or not: it must not have begun before somebody looks.
        async with scene.process("worker", (str(COMMAND), "worker"), scene.shares.under_test, environment) as process:
            watched = {UNDER_TEST: [process.pid], "postgresql": scene.postgresql}
            found = await measured(_stored_offsets(url, topic.name, process), topic.records, watched, after=after)
        return await _checked(url, before, topic, found)


async def _checked(url: str, before: storage.Contents, topic: Topic, found: Measurement) -> Measurement:
    after = await storage.contents(url)
    stored = after.rows - before.rows
    if stored != topic.rows:
        raise RuntimeError(f"{topic.rows} different events were published, {stored} stored")
    sizes = {
        "store_bytes_per_row": (after.size_bytes - before.size_bytes) / stored,
        "wal_bytes_per_row": (after.wal_position - before.wal_position) / stored,
        "log_bytes_per_record": topic.log_bytes / topic.records,
        "value_bytes_per_record": topic.value_bytes / topic.records,
    }
    return replace(found, others={**found.others, **sizes})


async def _stored_offsets(url: str, topic: str, process: asyncio.subprocess.Process) -> Progress:
    """Tell how far the worker is, by the offsets that it writes with the rows."""
    session = await asyncpg.connect(url)
    try:
        before = 0
        while process.returncode is None:
            done: int = await session.fetchval(
                "SELECT coalesce(sum(next_offset), 0)::bigint FROM topic_offsets WHERE topic = $1", topic
            )
            if done > before:
                before = done
                yield done
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
    finally:
        await session.close()


async def measure_plain(scene: Scene, database: str, way: str, arguments: Sequence[str], records: int) -> Measurement:
    """Let one of the plain ways write into a copy of a database."""
    async with storage.copied(scene.postgres_url, database) as url:
        command = (sys.executable, "-m", "tests.benchmarks.plain_worker", way, url, *arguments)
        async with _piped(command, scene.shares.under_test) as process:
            return await _measured_by_what_it_tells(scene, process, records)


async def measure_psql(scene: Scene, database: str, lines: Path, rows: int) -> Measurement:
    """Let psql copy a file of `rows` lines into a copy of a database, in one transaction."""
    async with storage.copied(scene.postgres_url, database) as url:
        command = (str(PSQL), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", url)
        async with _piped(command, scene.shares.under_test) as process:
            assert process.stdin is not None
            options = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')"
            copy = rf"\copy {TABLE} ({', '.join(COLUMNS)}) FROM '{lines}' WITH {options}"
            process.stdin.write(f"\\! echo 0\n{copy}\n\\! echo {rows}\n".encode())
            return await _measured_by_what_it_tells(scene, process, rows)


async def _measured_by_what_it_tells(scene: Scene, process: asyncio.subprocess.Process, records: int) -> Measurement:
    return await measured(_told(process), records, {UNDER_TEST: [process.pid], "postgresql": scene.postgresql})


async def _told(process: asyncio.subprocess.Process) -> Progress:
    """Tell what a process prints, a number a line."""
    assert process.stdout is not None
    async for line in process.stdout:
        yield int(line)


@asynccontextmanager
async def _piped(command: Sequence[str], cores: Cores) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program that prints how far it is; it dies with this process, and is ended with the body."""
    program = Program(name=command[0], command=tuple(command), directory=ROOT, log=ROOT)
    with working_on(cores):
        process = await asyncio.create_subprocess_exec(
            *program.arguments(), cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
