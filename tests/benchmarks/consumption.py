"""What processes consume: CPU time and memory, from the system's own accounts."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

Processes = Mapping[str, Sequence[int]]
"""Process ids by a name, such as `server`, `kafka`, `postgresql`; several under one name are added up."""

SHARING = "postgresql"  # the memory of its processes is mostly one and the same: nothing to add up

_RESET_PEAK = "5"  # proc(5), clear_refs: forget the highest resident size


class Consumed(NamedTuple):
    """What was consumed between two moments; peaks are those of the named processes without their children."""

    wall_seconds: float
    cpu_seconds: dict[str, float]
    peak_rss_bytes: dict[str, int]


class Watch:
    """Watches processes from `begin` to `end`."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._began_at = 0.0
        self._before: dict[str, float] = {}

    def begin(self) -> None:
        """Note the CPU time and forget the peaks."""
        for pids in self._processes.values():
            for pid in pids:
                _forget_peak(pid)
        self._began_at = time.perf_counter()
        self._before = self._cpu_seconds()

    def end(self) -> Consumed:
        """Give what was consumed since `begin`."""
        wall_seconds = time.perf_counter() - self._began_at
        now = self._cpu_seconds()
        consumed = {name: seconds - self._before[name] for name, seconds in now.items()}
        peaks = {name: sum(map(_peak_bytes, pids)) for name, pids in self._processes.items() if name != SHARING}
        return Consumed(wall_seconds, consumed, peaks)

    def _cpu_seconds(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self._processes.items()}


def cpu_seconds(pid: int) -> float:
    """Give the user and system time of a process with its children, ended ones that it waited for included."""
    process = psutil.Process(pid)
    total = _own_and_waited_for(process)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # its time is its parent's now, and counts the next time
            total += _own_and_waited_for(child)
    return total


def _own_and_waited_for(process: psutil.Process) -> float:
    times = process.cpu_times()
    children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + children)


def _forget_peak(pid: int) -> None:
    with suppress(OSError):  # not Linux, or another account's process: its peak is that since its start
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, "ascii")


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return int(psutil.Process(pid).memory_info().rss)
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def listening_on(port: int) -> list[int]:
    """Give the processes that listen on a port of this machine, as far as this account may see."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return []
    listening = [one for one in connections if one.status == psutil.CONN_LISTEN and one.pid]
    pids = {one.pid for one in listening if one.laddr and one.laddr.port == port and one.pid}
    return [pid for pid in pids if not _is_child_of(pid, pids)]


def _is_child_of(pid: int, pids: set[int]) -> bool:
    """Whether it only shares the socket of its parent."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).ppid() in pids
    return True
