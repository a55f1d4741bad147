"""How much memory and how many descriptors a process may take. Pure; each figure with its arithmetic."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from quizstream.gateway.publish import MAX_UNACKNOWLEDGED_BYTES
from quizstream.worker.log import FETCH_BYTES
from quizstream.worker.redelivery import REMEMBERED_IDS

MIB: Final = 2**20
# What scenarios run with, so that the bounds can be reached; no more than the settings' own defaults.
SETTINGS: Final = {
    "QUIZSTREAM_INFLIGHT_BYTES": str(64 * MIB),
    "QUIZSTREAM_MAX_OPEN_ANSWERS": "16",
    "QUIZSTREAM_READ_CONNECTIONS": "8",
    "QUIZSTREAM_FLUSH_ROWS": "20000",
    "QUIZSTREAM_FLUSH_BYTES": str(16 * MIB),
}

# Interpreter, libraries and code, measured at rest: 70 to 90 MiB.
_PROCESS_BYTES: Final = 96 * MIB
# malloc keeps some of what was freed.
_FRAGMENTATION: Final = 1.5
# One body of 16 MiB at work beside the budget, which counts the larger of body and records: its decompressor's pieces,
# its elements, its records.
_AT_WORK_BYTES: Final = 3 * 16 * MIB
# A record as the client's object with key and headers, and what is decoded from it, beside its own bytes.
_RECORD_OVERHEAD_BYTES: Final = 4 * 1024
_REMEMBERED_ID_BYTES: Final = 200
_ANSWER_BYTES: Final = 4 * MIB

# Of a process that was not ready before the first fault; 16 to 18 were counted of each kind at rest.
RESTING_DESCRIPTORS: Final = 18
# Sessions and connections that come and go: probes, look-ups, a Kafka connection that is being replaced.
_PASSING_DESCRIPTORS: Final = 4
_GROWTH: Final = 0.1
_GROWTH_BYTES: Final = 16 * MIB


class Sample(NamedTuple):
    """What a process took at a time, in seconds since the scenario began; descriptors without clients' connections."""

    at_seconds: float
    pid: int
    resident_bytes: int
    descriptors: int


def memory_bound_bytes(kind: str, settings: Mapping[str, str]) -> int:
    """Most that a process of this kind (a service's name) may have resident."""
    held = {"gateway": _gateway_bytes, "worker": _worker_bytes, "reader": _reader_bytes}[kind]
    return int(_PROCESS_BYTES + _FRAGMENTATION * held(settings))


def _gateway_bytes(settings: Mapping[str, str]) -> int:
    """What is in flight, the batches into which it is copied, and one body at work."""
    return int(settings["QUIZSTREAM_INFLIGHT_BYTES"]) + MAX_UNACKNOWLEDGED_BYTES + _AT_WORK_BYTES


def _worker_bytes(settings: Mapping[str, str]) -> int:
    """An answer of the broker at work and the next, a flush and what COPY is given of it, and the ids stored lately."""
    rows, flush_bytes = int(settings["QUIZSTREAM_FLUSH_ROWS"]), int(settings["QUIZSTREAM_FLUSH_BYTES"])
    flush = 2 * flush_bytes + rows * _RECORD_OVERHEAD_BYTES
    return 2 * FETCH_BYTES + flush + REMEMBERED_IDS * _REMEMBERED_ID_BYTES


def _reader_bytes(settings: Mapping[str, str]) -> int:
    """A round of every answer that may be open."""
    return int(settings["QUIZSTREAM_MAX_OPEN_ANSWERS"]) * _ANSWER_BYTES


def descriptor_margin(kind: str, settings: Mapping[str, str], brokers: int) -> int:
    """How many more descriptors than before the first fault a process may have at rest.

    Each client of Kafka keeps a connection to every broker, and a member of a group one more to its coordinator; the
    reader's pool opens its connections as they are needed.
    """
    pool = int(settings["QUIZSTREAM_READ_CONNECTIONS"]) if kind == "reader" else 0
    return _PASSING_DESCRIPTORS + brokers + pool


def leaks(before: Mapping[str, int], after: Mapping[str, int], margins: Mapping[str, int]) -> list[str]:
    """Tell which processes have more descriptors than they may."""
    return [
        f"descriptors: {name} has {count}, {before[name]} before the faults"
        for name, count in after.items()
        if name in before and count > before[name] + margins[name]
    ]


def grown(name: str, samples: Sequence[Sample], descriptors: int) -> list[str]:
    """Tell what of a process grew between the first third of its life and the last, by their medians.

    Memory may differ by a tenth and 16 MiB, as caches fill and malloc keeps; `descriptors` is the margin of those.
    """
    third = len(samples) // 3
    first, last = samples[:third], samples[-third:]
    found = []
    memory = [median(sample.resident_bytes for sample in some) for some in (first, last)]
    if memory[1] > memory[0] * (1 + _GROWTH) + _GROWTH_BYTES:
        found.append(f"memory grows: {name} from {memory[0] / MIB:.0f} to {memory[1] / MIB:.0f} MiB")
    opened = [median(sample.descriptors for sample in some) for some in (first, last)]
    if opened[1] > opened[0] + descriptors:
        found.append(f"descriptors grow: {name} from {opened[0]:.0f} to {opened[1]:.0f}")
    return found
