"""The large store with as many rows as one likes, once: `make bench-large ROWS=50000000 YES=1`.

It says first how much disk and time that takes, and begins only when it may and can.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import uvloop
from tests.benchmarks import large_store, reader, results, schedule, table
from tests.benchmarks.cores import available, share_out, working_on
from tests.benchmarks.machine import describe_machine, describe_versions
from tests.benchmarks.scene import Scene, open_scene
from tests.benchmarks.schedule import Outcome
from tests.benchmarks.targets import judge

OUT = Path(".quizstream-bench/large")
ROWS = 50_000_000
# A row with its index entry; the store and the copy that a worker writes into; the rest is PostgreSQL's log and topics.
_ROW_BYTES = 260
_OTHER_BYTES = 8 * 10**9
# Loading takes 6 us a row of an idle core; copying a gigabyte 1 to 4 s, four times in each of three repetitions.
_SECONDS_PER_MILLION_ROWS = (12, 40)
_OTHER_SECONDS = 600


class Need(NamedTuple):
    """What a run takes: bytes of disk at most, and seconds at least and at most."""

    disk_bytes: int
    seconds: tuple[int, int]

    def __str__(self) -> str:
        least, most = (f"{seconds / 60:.0f}" for seconds in self.seconds)
        return f"{self.disk_bytes / 1e9:.0f} GB of disk for a while, and {least} to {most} minutes"


def need_of(rows: int) -> Need:
    """Estimate what a run takes."""
    least, most = (_OTHER_SECONDS + rows * seconds // 10**6 for seconds in _SECONDS_PER_MILLION_ROWS)
    return Need(2 * rows * _ROW_BYTES + _OTHER_BYTES, (least, most))


def refusal(rows: int, free_bytes: int, *, agreed: bool) -> str:
    """Say why not to begin; nothing where all is well."""
    need = need_of(rows)
    if rows <= large_store.SMALL_ROWS:
        return f"ROWS must be more than {large_store.SMALL_ROWS}, with which it is compared."
    if need.disk_bytes > free_bytes:
        return f"There are only {free_bytes / 1e9:.0f} GB of disk; take fewer ROWS, or OUT on another disk."
    return "" if agreed else "Say YES=1 to begin."


async def _measure(scene: Scene, rows: int, repetitions: int | None) -> list[Outcome]:
    """Write first and read then, so that one copy of the store at a time is enough."""
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(large_store.filled_store(scene, count))
            for count in (large_store.SMALL_ROWS, rows)
        ]
        async with large_store.writing(scene, stores) as growth:
            outcomes = await schedule.run("large-store", [growth], repetitions)
        async with large_store.reading(scene, stores) as read:
            return [*await schedule.run("large-store", read, repetitions), *outcomes]


async def _run(rows: int, repetitions: int | None, out: Path) -> tuple[results.Results, Sequence[Outcome]]:
    began_at, shares = datetime.now(UTC), share_out(available())
    machine = describe_machine(len(shares.everything))
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=out) as directory:
        async with open_scene(Path(directory), shares, quick=False) as scene:
            versions = await describe_versions(scene.postgres_url, embedded_kafka=scene.embedded_kafka)
            with working_on(shares.load):
                outcomes = await _measure(scene, rows, repetitions)
    return results.Results(
        began_at=began_at.isoformat(timespec="seconds"),
        seconds=round((datetime.now(UTC) - began_at).total_seconds(), 1),
        machine=machine,
        versions=versions,
        outcomes=[results.outcome_as_data(outcome) for outcome in outcomes],
    ), outcomes


def main() -> int:
    """Do what the command line asks for; 1 where it may not or cannot."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeat", type=int, help="repetitions, instead of three")
    parser.add_argument("--yes", action="store_true", help="begin")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{asked.rows:,} rows take {need_of(asked.rows)}.\n")
    sys.stdout.flush()
    if why := refusal(asked.rows, shutil.disk_usage(asked.out).free, agreed=asked.yes):
        sys.stdout.write(f"{why}\n")
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found, outcomes = runner.run(_run(asked.rows, asked.repeat, asked.out.absolute()))
    targets = (*reader.TARGETS, *large_store.targets(large_store.SMALL_ROWS, asked.rows))
    text = "\n".join([*table.target_rows(list(judge(targets, outcomes))), "", *table.rows(outcomes), ""])
    results.write(asked.out / "results.json", found)
    (asked.out / "table.md").write_text(text, "utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
