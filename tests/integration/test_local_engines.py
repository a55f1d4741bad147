import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from textwrap import dedent

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.waiting import eventually, scaled

from quizstream.local import engines, kafka, ports, postgres
from quizstream.local.errors import DirectoryInUseError, PortTakenError
from quizstream.local.packages import CACHE_DIRECTORY

SERVICES = Path(kafka.__file__).parents[2]
USER = "nobody"

PARENT = dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from quizstream.local import engines

    async def main():
        async with engines.running(Path(sys.argv[1])) as running:
            pids = " ".join(str(engine.pid) for engine in running.started)
            print(running.bootstrap_servers, running.database_url, pids, flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    asyncio.run(main())
    """
)

PARENT_OF_ORPHANS = (
    dedent(
        """
    import dataclasses, signal
    from quizstream.local import processes

    tied = processes.Program.arguments
    processes.Program.arguments = lambda self: tied(dataclasses.replace(self, death_signal=signal.SIGCONT))
    """
    )
    + PARENT
)


async def write_row(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (value int)")
    await connection.execute("INSERT INTO kept VALUES (7)")
    await connection.close()


async def read_row(url: str) -> int | None:
    connection = await asyncpg.connect(url)
    try:
        value: int | None = await connection.fetchval("SELECT value FROM kept")
    finally:
        await connection.close()
    return value


async def write_record(bootstrap_servers: str, topic: str, value: bytes = b"7") -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        limit = {"max.message.bytes": str(kafka.MAX_MESSAGE_BYTES)}
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, topic_configs=limit)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", max_request_size=kafka.MAX_MESSAGE_BYTES
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def read_record(bootstrap_servers: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        record = await asyncio.wait_for(consumer.getone(), scaled(20))
    finally:
        await consumer.stop()
    value: bytes | None = record.value
    return value


@asynccontextmanager
async def another_process(data: Path, *, script: str = PARENT) -> AsyncIterator[tuple[int, list[str]]]:
    """A process that runs both engines until its input ends; gives its pid and what it printed."""
    async with printing_process(sys.executable, "-c", script, str(data)) as (pid, printed):
        yield pid, printed


@asynccontextmanager
async def printing_process(
    *command: str, environment: dict[str, str] | None = None, user: str | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd="/",
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), scaled(120))
        yield process.pid, line.decode().split()
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), scaled(60))


async def processes_in(directory: Path) -> list[str]:
    """Engines whose working directory is below `directory`."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory):
                found.append(f"{process.pid} {process.name()}")
        except (psutil.Error, OSError):
            continue
    return found


async def test_both_start_work_stop_and_keep_their_data(tmp_path: Path) -> None:
    async with engines.running(tmp_path / "data") as first:
        await write_row(first.database_url)
        await write_record(first.bootstrap_servers, "kept")
    assert not await processes_in(tmp_path)

    async with engines.running(tmp_path / "data") as second:
        assert await read_row(second.database_url) == 7
        assert await read_record(second.bootstrap_servers, "kept") == b"7"
    assert not await processes_in(tmp_path)


async def test_the_data_is_closed_to_other_accounts(tmp_path: Path) -> None:
    async with postgres.running(tmp_path / "postgres", tmp_path / "logs"):
        closed = [tmp_path / "postgres", tmp_path / "postgres" / "cluster", tmp_path / "logs"]
        assert [stat.S_IMODE(path.stat().st_mode) for path in closed] == [0o700] * 3
        assert stat.S_IMODE((tmp_path / "postgres" / "password").stat().st_mode) == 0o600


async def test_the_database_wants_its_password(tmp_path: Path) -> None:
    async with postgres.running(tmp_path / "postgres", tmp_path / "logs") as url:
        password = (tmp_path / "postgres" / "password").read_text("ascii").strip()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.replace(password, "guessed"))


async def test_servers_that_are_named_are_not_started(tmp_path: Path) -> None:
    async with engines.running(tmp_path, bootstrap_servers="a:1", database_url="postgresql://b/c") as named:
        assert (named.bootstrap_servers, named.database_url, named.started) == ("a:1", "postgresql://b/c", ())


async def test_killed_parent_leaves_nothing_behind_nor_in_the_way(tmp_path: Path) -> None:
    async with another_process(tmp_path / "data") as (pid, printed):
        bootstrap_servers, database_url, *engine_pids = printed
        await write_row(database_url)
        await write_record(bootstrap_servers, "kept")
        os.kill(pid, signal.SIGKILL)

        async with engines.running(tmp_path / "data") as after:
            assert await read_row(after.database_url) == 7
            assert await read_record(after.bootstrap_servers, "kept") == b"7"
            assert not any(psutil.pid_exists(int(engine_pid)) for engine_pid in engine_pids)

    async def nothing_runs() -> bool:
        return not await processes_in(tmp_path)

    assert await eventually(nothing_runs)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
async def test_engines_die_with_their_parent_even_without_a_next_start(tmp_path: Path) -> None:
    async with another_process(tmp_path / "data") as (pid, _):
        os.kill(pid, signal.SIGKILL)

        async def nothing_runs() -> bool:
            return not await processes_in(tmp_path)

        assert await eventually(nothing_runs)


async def test_left_over_engines_are_ended_by_the_next_start(tmp_path: Path) -> None:
    """As where the system does not end them with their parent."""
    async with another_process(tmp_path / "data", script=PARENT_OF_ORPHANS) as (pid, printed):
        orphans = [psutil.Process(int(engine_pid)) for engine_pid in printed[2:]]
        os.kill(pid, signal.SIGKILL)
    try:
        assert all(orphan.is_running() for orphan in orphans)

        async with engines.running(tmp_path / "data") as after:
            assert not any(orphan.is_running() for orphan in orphans)
            await write_row(after.database_url)
    finally:
        for orphan in orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()


async def test_a_stale_pid_file_with_the_number_of_a_living_process_is_not_in_the_way(tmp_path: Path) -> None:
    async with postgres.server(tmp_path / "postgres", tmp_path / "logs") as server:
        pid_file = tmp_path / "postgres" / "cluster" / "postmaster.pid"
        content = pid_file.read_text("ascii")
        await server.kill()
        pid_file.write_text(f"1\n{content.partition(chr(10))[2]}", "ascii")
        await server.start()
        await write_row(server.address)


async def test_a_taken_port_is_left_and_another_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind((ports.LOOPBACK, 0))
        holder.listen()
        taken = holder.getsockname()[1]
        monkeypatch.setattr(kafka, "DEFAULT_PORT", taken)
        monkeypatch.setattr(postgres, "DEFAULT_PORT", taken)

        async with engines.running(tmp_path) as running:
            assert f":{taken}" not in running.bootstrap_servers
            assert f":{taken}/" not in running.database_url


async def test_a_named_port_is_taken_or_refused_with_one_clear_line(tmp_path: Path) -> None:
    port = ports.any_free()
    async with postgres.running(tmp_path / "first", tmp_path / "logs", port) as url:
        assert f":{port}/" in url
        with pytest.raises(PortTakenError, match=rf"^PostgreSQL cannot listen on port {port}: it is taken$"):
            async with postgres.running(tmp_path / "second", tmp_path / "logs", port):
                pass


async def test_a_directory_in_use_is_refused_with_one_clear_line(tmp_path: Path) -> None:
    async with postgres.running(tmp_path / "postgres", tmp_path / "logs"):
        with pytest.raises(DirectoryInUseError, match=rf"is in use by another quizstream \(process {os.getpid()}\)$"):
            async with postgres.running(tmp_path / "postgres", tmp_path / "logs"):
                pass


async def test_engines_can_be_killed_and_started_again_on_the_same_address(tmp_path: Path) -> None:
    async with kafka.broker(tmp_path / "kafka", tmp_path / "logs") as broker:
        await write_record(broker.address, "kept")
        await broker.kill()
        assert not broker.is_running
        await broker.start()
        assert await read_record(broker.address, "kept") == b"7"
        broker.pause()
        broker.resume()
        assert await read_record(broker.address, "kept") == b"7"


async def test_a_paused_engine_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with postgres.server(tmp_path / "postgres", tmp_path / "logs") as server:
        server.pause()
    assert not await processes_in(tmp_path)


async def test_a_record_of_19_mebibytes_passes(tmp_path: Path) -> None:
    value = os.urandom(19 * 1024 * 1024)
    async with kafka.running(tmp_path / "kafka", tmp_path / "logs") as bootstrap_servers:
        await write_record(bootstrap_servers, "large", value)
        assert await read_record(bootstrap_servers, "large") == value


async def test_three_brokers_make_a_cluster(tmp_path: Path) -> None:
    nodes = [kafka.Node(number, ports.any_free(), ports.any_free()) for number in (1, 2, 3)]
    cluster_id = kafka.new_cluster_id()

    async def run(node: kafka.Node, enough: asyncio.Event, ready: asyncio.Semaphore) -> None:
        home = tmp_path / str(node.node_id)
        async with kafka.member(node, nodes, home, home / "logs", cluster_id=cluster_id):
            ready.release()
            await enough.wait()

    enough, ready = asyncio.Event(), asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for node in nodes:
            tasks.create_task(run(node, enough, ready))
        for _ in nodes:
            await ready.acquire()
        admin = AIOKafkaAdminClient(bootstrap_servers=nodes[0].address)
        await admin.start()
        cluster = await admin.describe_cluster()
        await admin.close()
        enough.set()
    assert len(cluster["brokers"]) == 3


@pytest.fixture
def ordinary_user() -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A Python that an ordinary account can run the product with, its home, and its environment."""
    if os.geteuid() != 0:
        pytest.skip("the suite itself runs as an ordinary user")
    home = Path(tempfile.mkdtemp(prefix="quizstream-user-"))  # below tmp_path other accounts may not go
    search = os.pathsep.join(path for path in sys.path if path and "site-packages" in path)
    environment = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONPATH": os.pathsep.join([str(SERVICES), search]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    candidates = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    try:
        python = next((one for one in candidates if can_import(one, environment)), None)
        if python is None:
            pytest.skip(f"no ordinary account can run any of {', '.join(candidates)} with the product")
        shutil.copytree(CACHE_DIRECTORY, home / "cache" / "quizstream")
        for path in (home, *home.rglob("*")):
            shutil.chown(path, USER)
        yield python, home, environment
    finally:
        shutil.rmtree(home)


def can_import(python: str, environment: dict[str, str]) -> bool:
    command = [python, "-c", "import quizstream.local.engines"]
    try:
        tried = subprocess.run(
            command, check=False, capture_output=True, env=environment, cwd="/", user=USER, extra_groups=[]
        )
    except OSError:
        return False
    return tried.returncode == 0


async def test_an_ordinary_user_can_run_both(ordinary_user: tuple[str, Path, dict[str, str]]) -> None:
    python, home, environment = ordinary_user
    command = (python, "-c", PARENT, str(home / "data"))
    async with printing_process(*command, environment=environment, user=USER) as (pid, printed):
        bootstrap_servers, database_url, *engine_pids = printed
        await write_row(database_url)
        await write_record(bootstrap_servers, "kept")
        owners = {psutil.Process(int(process)).username() for process in (str(pid), *engine_pids)}
        assert owners == {USER}
    async with printing_process(*command, environment=environment, user=USER) as (_, printed):
        assert await read_row(printed[1]) == 7
        assert await read_record(printed[0], "kept") == b"7"


async def test_root_can_go_on_with_the_data_of_an_ordinary_user(
    ordinary_user: tuple[str, Path, dict[str, str]],
) -> None:
    python, home, environment = ordinary_user
    command = (python, "-c", PARENT, str(home / "data"))
    async with printing_process(*command, environment=environment, user=USER) as (_, printed):
        await write_row(printed[1])

    async with postgres.running(home / "data" / "postgres", home / "data" / "logs") as url:
        assert await read_row(url) == 7
