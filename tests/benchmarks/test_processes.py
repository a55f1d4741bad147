"""Cores and consumption of processes."""

import os
import socket
import subprocess
import sys
import time

import pytest
from tests.benchmarks.consumption import Watch, cpu_seconds, listening_on
from tests.benchmarks.cores import Cores, available, share_out, working_on
from tests.waiting import scaled

_BURN = "import time\nwhile time.process_time() < 0.3: pass"
_STILL_ALIVE = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN + chr(10) + 'input()'!r}])"
_WAITED_FOR = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\ninput()"


@pytest.mark.parametrize(
    ("cores", "under_test", "load", "engines"),
    [
        ([3], {3}, {3}, {3}),
        ([0, 1], {0}, {1}, {1}),
        ([0, 1, 2], {0}, {2}, {1}),
        ([4, 5, 6, 7], {4}, {7}, {5, 6}),
    ],
)
def test_what_is_measured_has_a_core_of_its_own(
    cores: list[int], under_test: set[int], load: set[int], engines: set[int]
) -> None:
    shares = share_out(cores)
    assert list(map(set, shares)) == [under_test, load, engines, set(cores)]


def test_a_process_works_on_the_cores_of_the_block_it_was_started_in() -> None:
    before = available()
    one: Cores = frozenset([min(before)])
    with working_on(one):
        shown = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"],
            capture_output=True,
            check=True,
            text=True,
        )
    assert shown.stdout.strip() == str(sorted(one))
    assert available() == before


@pytest.mark.parametrize("program", [_STILL_ALIVE, _WAITED_FOR], ids=["alive", "waited for"])
def test_the_time_of_children_counts_for_their_parent(program: str) -> None:
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + scaled(30)
        while cpu_seconds(process.pid) < 0.3:
            assert time.monotonic() < deadline, "the child's time does not count"
        process.communicate(b"\n")


def test_a_watch_tells_what_was_consumed_since_its_begin() -> None:
    watch = Watch({"server": [os.getpid()], "postgresql": [os.getpid()]})
    began = time.process_time()
    watch.begin()
    while time.process_time() < began + 0.3:
        pass
    consumed = watch.end()
    assert 0.2 < consumed.cpu_seconds["server"] < 1.0
    assert consumed.wall_seconds >= consumed.cpu_seconds["server"] * 0.9
    assert consumed.peak_rss_bytes["server"] > 2**20
    assert "postgresql" not in consumed.peak_rss_bytes  # its processes share theirs


def test_a_server_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening_on(listening.getsockname()[1]) == [os.getpid()]
