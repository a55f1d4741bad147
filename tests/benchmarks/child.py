"""A tool of the benchmark as a process: it gets one JSON document and gives one."""

import asyncio
import sys
from typing import TypeVar

import msgspec
from tests.benchmarks.cores import Cores, working_on
from tests.benchmarks.scene import ROOT

from quizstream.local.processes import Program

Reply = TypeVar("Reply", bound=msgspec.Struct)


async def ask(module: str, order: msgspec.Struct, reply: type[Reply], cores: Cores) -> Reply:
    """Run `python -m MODULE` on `cores` and give what it answers.

    Raises:
        RuntimeError: it failed; why stands on stderr.

    """
    program = Program(name=module, command=(sys.executable, "-m", module), directory=ROOT, log=ROOT)
    with working_on(cores):
        process = await asyncio.create_subprocess_exec(
            *program.arguments(), cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    try:
        printed, _ = await process.communicate(msgspec.json.encode(order))
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{module} failed")
    return msgspec.json.decode(printed, type=reply)
