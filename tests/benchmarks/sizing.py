"""How many cores, partitions and disks an exam takes, from what was measured; the README's paragraph is made by this.

    python -m tests.benchmarks.sizing [--students 1000000 --events 5 --seconds 15]

`sizing.json` holds what the arithmetic needs of the last published run; `make bench PUBLISH=1` writes it.
"""

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from tests.benchmarks import gateway, reader, worker
from tests.benchmarks.schedule import Outcome
from tests.benchmarks.summary import spread, values_of
from tests.benchmarks.targets import PRODUCT

STORED = Path(__file__).with_name("sizing.json")
README = Path(__file__).parents[2] / "README.md"
SHOWN_EVENTS = (1, 5, 20)
HEADROOM = 2  # what is promised of latency is promised at half of what was measured
REPLICAS = 3
PARTITIONS_STEP = 12  # divides evenly among 2, 3, 4, 6 and 12 workers
_BATCH_HEAD_BYTES = 61  # Kafka's documentation, "Record Batch"; a quiet gateway writes a batch for each request
_BEGIN, _END = "<!-- sizing -->\n", "<!-- /sizing -->"
_NOT_YET = "No results are stored yet; `make bench PUBLISH=1` stores those of a run and writes this paragraph.\n"


class Inputs(msgspec.Struct, frozen=True):
    """CPU time in us and bytes, medians of a run. The gateway's are of a request, by its events."""

    machine: str
    gateway_us: dict[int, float]
    kafka_us: dict[int, float]
    worker_us: float
    worker_per_second: float
    store_us: float
    page_us: float
    page_store_us: float
    log_bytes: float
    row_bytes: float
    wal_bytes: float


class Exam(NamedTuple):
    """Students of whom each posts `events` every `seconds`."""

    students: int
    events: int
    seconds: float

    @property
    def requests_per_second(self) -> float:
        """Posts a second."""
        return self.students / self.seconds

    @property
    def events_per_second(self) -> float:
        """Events a second."""
        return self.requests_per_second * self.events


class Size(NamedTuple):
    """What an exam takes: cores with headroom, workers and partitions, disk for each hour."""

    gateway_cores: int
    kafka_cores: int
    workers: int
    partitions: int
    store_cores: int
    log_gigabytes: float
    store_gigabytes: float
    wal_megabytes_per_second: float


def inputs_of(machine: str, outcomes: Sequence[Outcome]) -> Inputs | None:
    """Take what is needed from a run; None where a part of it was not run."""
    run = {outcome.name: outcome.series for outcome in outcomes}
    page = reader.get(1_000, 16)
    needed = [*(gateway.closed_loop(events) for events in SHOWN_EVENTS), worker.WRITE, page]
    if any(name not in run for name in needed):
        return None

    def median(benchmark: str, figure: str) -> float:
        return round(spread(values_of(run[benchmark][PRODUCT], figure)).median, 2)

    return Inputs(
        machine=machine,
        gateway_us={events: median(gateway.closed_loop(events), "cpu_us") for events in SHOWN_EVENTS},
        kafka_us={events: median(gateway.closed_loop(events), "cpu_us_kafka") for events in SHOWN_EVENTS},
        worker_us=median(worker.WRITE, "cpu_us"),
        worker_per_second=median(worker.WRITE, "per_second"),
        store_us=median(worker.WRITE, "cpu_us_postgresql"),
        page_us=median(page, "cpu_us"),
        page_store_us=median(page, "cpu_us_postgresql"),
        log_bytes=median(worker.WRITE, "log_bytes_per_record"),
        row_bytes=median(worker.WRITE, "store_bytes_per_row"),
        wal_bytes=median(worker.WRITE, "wal_bytes_per_row"),
    )


def size(exam: Exam, measured: Inputs) -> Size:
    """Do the arithmetic. The gateway's cost is that of the next larger request that was measured, or the largest."""
    per_second = exam.events_per_second
    known = [events for events in measured.gateway_us if events >= exam.events]
    like = min(known, default=max(measured.gateway_us))
    times = exam.events / like if exam.events > like else 1
    workers = _whole(per_second * HEADROOM / measured.worker_per_second)
    return Size(
        gateway_cores=_cores(exam.requests_per_second * times * measured.gateway_us[like]),
        kafka_cores=_cores(REPLICAS * exam.requests_per_second * times * measured.kafka_us[like]),
        workers=workers,
        partitions=PARTITIONS_STEP * _whole(workers / PARTITIONS_STEP),
        store_cores=_cores(per_second * measured.store_us),
        log_gigabytes=3600 * per_second * REPLICAS * (measured.log_bytes + _BATCH_HEAD_BYTES / exam.events) / 1e9,
        store_gigabytes=3600 * per_second * measured.row_bytes / 1e9,
        wal_megabytes_per_second=per_second * measured.wal_bytes / 1e6,
    )


def _cores(cpu_us_per_second: float) -> int:
    return _whole(cpu_us_per_second * HEADROOM / 1e6)


def _whole(number: float) -> int:
    return max(1, math.ceil(number))


def paragraph(measured: Inputs | None) -> str:
    """Give the README's paragraph."""
    if measured is None:
        return _NOT_YET
    exams = [Exam(1_000_000, events, 15) for events in SHOWN_EVENTS]
    texts = (_per_core(measured), _disk(measured), _formulas(measured), "\n".join(table(measured, exams)))
    return "\n\n".join(texts) + "\n"


def _per_core(measured: Inputs) -> str:
    gateway_us = measured.gateway_us[5]
    return _wrapped(
        f"""One core ({measured.machine}) of the gateway takes {_number(5e6 / gateway_us)} events/s in requests of five
        ({gateway_us:.0f} us each), of the worker {_number(1e6 / measured.worker_us)} events/s ({measured.worker_us:.1f}
        us each, and {measured.store_us:.1f} us of PostgreSQL; one process reached
        {_number(measured.worker_per_second)}/s), of the reader {_number(1e6 / measured.page_us)} pages of 1,000 events
        a second ({measured.page_us:.0f} us each, and {measured.page_store_us:.0f} us of PostgreSQL)."""
    )


def _disk(measured: Inputs) -> str:
    return _wrapped(
        f"""A million events take {measured.log_bytes / 1e3:.2f} GB in the log of each of {REPLICAS} brokers, for the 14
        days that it is kept, and {measured.row_bytes / 1e3:.2f} GB in PostgreSQL with the index; writing them puts
        {measured.wal_bytes / 1e3:.2f} GB into PostgreSQL's own log."""
    )


def _formulas(measured: Inputs) -> str:
    return _wrapped(
        f"""With r requests and e events a second: cores of gateways = {HEADROOM} r gateway_us / 10^6, of brokers =
        {HEADROOM} * {REPLICAS} r broker_us / 10^6 (a request of five costs one {measured.kafka_us[5]:.0f} us), of
        PostgreSQL = {HEADROOM} e {measured.store_us:.1f} / 10^6; workers = {HEADROOM} e /
        {measured.worker_per_second:.0f}; partitions = the next multiple of {PARTITIONS_STEP} that is not below the
        workers, for no partition has two. The factor {HEADROOM} is there because latencies are promised at half of what
        was measured. `python -m tests.benchmarks.sizing --students N --events N --seconds N` does it for other exams
        than a national one:"""
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def table(measured: Inputs, exams: Sequence[Exam]) -> list[str]:
    """Give a table in Markdown, a column for each exam."""
    sizes = [size(exam, measured) for exam in exams]
    heads = [
        f"{one.students:,} students, {one.events} event{'s' * (one.events > 1)} each {one.seconds:g} s" for one in exams
    ]
    rows = {
        "requests/s": [_number(exam.requests_per_second) for exam in exams],
        "events/s": [_number(exam.events_per_second) for exam in exams],
        "cores of gateways": [str(one.gateway_cores) for one in sizes],
        "cores of brokers, all together": [str(one.kafka_cores) for one in sizes],
        "workers, a core each": [str(one.workers) for one in sizes],
        "partitions, at least": [str(one.partitions) for one in sizes],
        "cores of PostgreSQL, writing": [str(one.store_cores) for one in sizes],
        "PostgreSQL's own log, MB/s": [_number(one.wal_megabytes_per_second) for one in sizes],
        "Kafka's disks, GB an hour": [_number(one.log_gigabytes) for one in sizes],
        "PostgreSQL's disk, GB an hour": [_number(one.store_gigabytes) for one in sizes],
    }
    return [
        f"| | {' | '.join(heads)} |",
        "|---" * (len(exams) + 1) + "|",
        *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items()),
    ]


def _number(value: float) -> str:
    """Two digits that mean something."""
    if value < 10:
        return f"{value:.1f}"
    digits = len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}"


def read() -> Inputs | None:
    """Read what is stored; None where nothing is."""
    return msgspec.json.decode(STORED.read_bytes(), type=Inputs) if STORED.exists() else None


def publish(machine: str, outcomes: Sequence[Outcome]) -> None:
    """Store what a run has measured and write the README's paragraph, if the run was complete."""
    if (measured := inputs_of(machine, outcomes)) is not None:
        STORED.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
        README.write_text(with_paragraph(README.read_text("utf-8"), paragraph(measured)), "utf-8")


def with_paragraph(text: str, shown: str) -> str:
    """Put the paragraph between its marks."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + shown + _END + after


def main() -> int:
    """Print the paragraph, or the table of one exam; 1 where nothing is stored."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sizing")
    parser.add_argument("--students", type=int)
    parser.add_argument("--events", type=int, default=5, help="events of a request")
    parser.add_argument("--seconds", type=float, default=15, help="between two requests of a student")
    asked = parser.parse_args()
    measured = read()
    if measured and asked.students:
        exam = Exam(asked.students, asked.events, asked.seconds)
        sys.stdout.write("\n".join([*table(measured, [exam]), ""]))
    else:
        sys.stdout.write(paragraph(measured))
    return 0 if measured else 1


if __name__ == "__main__":
    sys.exit(main())
