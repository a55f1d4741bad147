"""A process that could not open the connections that it promises does not start."""

import asyncio
import sys

import pytest
from tests.acceptance.system import COMMAND, SECRET
from tests.waiting import scaled

WITH_FEW = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["gateway", "reader"])
async def test_too_low_a_limit_of_descriptors_stops_the_start_with_one_line(command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WITH_FEW,
        str(COMMAND),
        command,
        env={"QUIZSTREAM_JWT_SECRET": SECRET, "QUIZSTREAM_ADMIN_PORT": "0"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(), scaled(30))
    assert process.returncode == 2
    assert told.startswith(b"quizstream: QUIZSTREAM_MAX_CONNECTIONS: ")
    assert told.count(b"\n") == 1
