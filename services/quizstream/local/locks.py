"""One holder at a time, among processes; the system lets go when the holder dies, however it dies."""

import asyncio
import fcntl
import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from quizstream.local.errors import DirectoryInUseError

_POLL_SECONDS = 0.05
_LET_GO_AFTER_SECONDS = 2.0  # a killed process holds on until the system has cleared it away


async def _taken(descriptor: int, seconds: float) -> bool:
    """Tell whether the lock is ours, at the latest after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False


@asynccontextmanager
async def waiting(path: Path) -> AsyncIterator[None]:
    """Hold the lock at `path`, after whoever holds it now."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        await _taken(descriptor, math.inf)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def exclusive(directory: Path) -> AsyncIterator[None]:
    """Hold `directory` for one engine; raises DirectoryInUseError when a living process has it."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not await _taken(descriptor, _LET_GO_AFTER_SECONDS):
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise DirectoryInUseError(f"{directory} is in use by another quizstream (process {holder})")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)
