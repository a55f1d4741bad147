"""Which cores work for whom: what is measured shares its core with nothing else of the run."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

Cores = frozenset[int]


class Shares(NamedTuple):
    """The cores of what is measured, of the load, of Kafka and PostgreSQL, and all of them."""

    under_test: Cores
    load: Cores
    engines: Cores
    everything: Cores


def share_out(available: Collection[int]) -> Shares:
    """Give what is measured a core of its own; on two cores load and engines share the other, on one nothing is won."""
    cores = sorted(available)
    first, last = frozenset(cores[:1]), frozenset(cores[-1:])
    return Shares(first, last, frozenset(cores[1:-1]) or last, frozenset(cores))


def available() -> Cores:
    """Give the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@contextmanager
def working_on(cores: Cores) -> Iterator[None]:
    """Let this thread, and each process that it starts in the body, work on `cores`, where the system can pin."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pid: int, cores: Cores) -> None:
    """Put a running process, its threads and its children on `cores`; what has ended meanwhile is left out."""
    if not hasattr(os, "sched_setaffinity"):
        return
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            _move_threads(one.pid, cores)


def _move_threads(pid: int, cores: Cores) -> None:
    with suppress(FileNotFoundError):
        for thread in list(Path(f"/proc/{pid}/task").iterdir()):
            with suppress(ProcessLookupError, PermissionError):  # one that another account's server started
                os.sched_setaffinity(int(thread.name), cores)
