"""A crash point ends the process it is set in, and no other."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from quizstream.runtime import crash_points
for _ in range(3):
    crash_points.reached("here")
    print("passed", flush=True)
"""


@pytest.mark.parametrize(
    ("setting", "passed", "status"),
    [
        ("", 3, 0),
        ("there", 3, 0),
        ("here", 0, -signal.SIGKILL),
        ("here:SIGTERM:3", 2, -signal.SIGTERM),
        ("here:SIGKILL:4", 3, 0),
    ],
)
def test_a_process_ends_where_it_is_told_to(setting: str, passed: int, status: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "QUIZSTREAM_CRASH_AT": setting},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (run.stdout.count(b"passed"), run.returncode) == (passed, status)
