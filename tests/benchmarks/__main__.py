"""Run the benchmarks, print tables, write results.

python -m tests.benchmarks [--only gateway] [--match '5 events'] [--repeat 5] [--quick] [--out DIRECTORY]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from tests.benchmarks import results, schedule, table
from tests.benchmarks.cores import available, share_out, working_on
from tests.benchmarks.machine import describe_machine, describe_versions
from tests.benchmarks.parts import LIMITS, PARTS, TARGETS
from tests.benchmarks.scene import Scene, open_scene
from tests.benchmarks.schedule import Outcome
from tests.benchmarks.targets import judge, judge_limits

OUT = Path(".quizstream-bench")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure quizstream.")
    names = [part.name for part in PARTS]
    parser.add_argument("--only", action="append", choices=names, help="a part to run; may be repeated")
    parser.add_argument("--match", default="", help="run only benchmarks whose name contains this")
    parser.add_argument("--repeat", type=int, help="repetitions of everything, instead of each benchmark's own number")
    parser.add_argument("--quick", action="store_true", help="measure for less time")
    parser.add_argument("--out", type=Path, default=OUT, help="directory for results.json and table.md")
    return parser.parse_args()


async def _measure(scene: Scene, asked: argparse.Namespace) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for part in PARTS:
        if asked.only and part.name not in asked.only:
            continue
        async with part.open(scene) as benchmarks:
            chosen = [one for one in benchmarks if asked.match in one.name]
            outcomes += await schedule.run(part.name, chosen, asked.repeat)
    return outcomes


def _report(outcomes: Sequence[Outcome]) -> str:
    lines = [
        *table.rows(outcomes),
        "",
        *table.target_rows(list(judge(TARGETS, outcomes))),
        "",
        *table.limit_rows(list(judge_limits(LIMITS, outcomes))),
        "",
    ]
    return "\n".join(lines)


async def _run(asked: argparse.Namespace) -> None:
    shares = share_out(available())
    began_at, began = datetime.now(UTC), time.monotonic()
    machine = describe_machine(len(shares.everything))
    with tempfile.TemporaryDirectory(prefix="quizstream-bench-") as directory:
        async with open_scene(Path(directory), shares, quick=asked.quick) as scene:
            versions = await describe_versions(scene.postgres_url, embedded_kafka=scene.embedded_kafka)
            with working_on(shares.load):
                outcomes = await _measure(scene, asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    found = results.Results(
        began_at=began_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        machine=machine,
        versions=versions,
        outcomes=[results.outcome_as_data(outcome) for outcome in outcomes],
    )
    results.write(asked.out / "results.json", found)
    report = _report(outcomes)
    (asked.out / "table.md").write_text(report, "utf-8")
    sys.stdout.write(report)


def main() -> None:
    """Run what the command line asks for."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(_arguments()))


if __name__ == "__main__":
    main()
