"""Cores and consumption of processes."""

import os
import socket
import subprocess
import sys

import pytest
from tests.benchmarks.consumption import Watch, cpu_seconds, listening_on
from tests.benchmarks.cores import Cores, available, share_out, working_on

_BURN = "import time\nwhile time.process_time() < 0.3: pass"
_BURN_IN_A_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\ninput()"


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


def test_the_time_of_children_counts_for_their_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _BURN_IN_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        watch = Watch({"server": [process.pid]})
        watch.begin()
        while cpu_seconds(process.pid) < 0.3:
            pass
        consumed = watch.end()
        process.communicate(b"\n")
    assert consumed.cpu_seconds["server"] >= 0.25
    assert consumed.peak_rss_bytes["server"] > 2**20
    assert consumed.wall_seconds > 0


def test_a_server_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening_on(listening.getsockname()[1]) == [os.getpid()]
