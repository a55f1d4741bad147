"""The limit of descriptors holds the connections that are allowed, or the process does not start."""

import subprocess
import sys

import pytest

from quizstream.runtime.descriptors import SPARE_DESCRIPTORS, ensure_descriptors

# In a process of its own: a hard limit that was lowered stays so.
CHECK = """
import resource, sys
from quizstream.runtime.descriptors import ensure_descriptors
from quizstream.runtime.lifecycle import StartRefused
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
try:
    ensure_descriptors(100)
except StartRefused as refused:
    print(refused)
else:
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
NEEDED = 100 + SPARE_DESCRIPTORS


def checked(soft: int, hard: int) -> str:
    command = [sys.executable, "-c", CHECK, str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.mark.parametrize(("soft", "after"), [(256, NEEDED + 5), (NEEDED - 1, NEEDED + 5), (NEEDED, NEEDED)])
def test_a_soft_limit_that_is_too_low_is_raised_to_the_hard_one(soft: int, after: int) -> None:
    assert checked(soft, NEEDED + 5) == str(after)


def test_a_hard_limit_that_is_too_low_stops_the_start_with_one_line() -> None:
    line = checked(256, NEEDED - 1)
    assert line.startswith("QUIZSTREAM_MAX_CONNECTIONS: ")
    assert line.count("\n") == 0
    assert str(NEEDED) in line


def test_a_limit_that_is_enough_is_left_alone() -> None:
    ensure_descriptors(1)
