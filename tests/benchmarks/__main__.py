"""Run the benchmarks, print tables, write results; `--help` lists the options."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from tests.benchmarks import baseline, report, results, schedule
from tests.benchmarks.cores import available, share_out, working_on
from tests.benchmarks.machine import describe_machine, describe_versions
from tests.benchmarks.measurement import Benchmark
from tests.benchmarks.parts import PARTS
from tests.benchmarks.results import Results
from tests.benchmarks.scene import Scene, open_scene
from tests.benchmarks.schedule import Outcome

OUT = Path(".quizstream-bench")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure quizstream.")
    names = [part.name for part in PARTS]
    parser.add_argument("--only", action="append", choices=names, help="a part to run; may be repeated")
    parser.add_argument("--match", default="", help="run only benchmarks whose name contains this")
    parser.add_argument("--repeat", type=int, help="repetitions of everything, instead of each benchmark's own number")
    parser.add_argument("--quick", action="store_true", help="measure for less time")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of results.json, table.md and the picture")
    parser.add_argument("--from", type=Path, dest="earlier", help="show the results.json of an earlier run")
    parser.add_argument("--publish", action="store_true", help="put picture and tables into the benchmark's README")
    parser.add_argument("--check", action="store_true", help="run what has stored ratios, and fail if one got worse")
    parser.add_argument("--write-baseline", action="store_true", help="store the ratios of this run for --check")
    return parser.parse_args()


def _chosen(benchmarks: Sequence[Benchmark], asked: argparse.Namespace) -> list[Benchmark]:
    found = [one for one in benchmarks if asked.match in one.name]
    return [guarded for one in found if (guarded := _guarded_only(one))] if asked.check else found


def _guarded_only(benchmark: Benchmark) -> Benchmark | None:
    """Give the benchmark with the contenders that stored ratios name; None where none does."""
    kept = [one for one in baseline.read().ratios if one.benchmark == benchmark.name]
    names = {name for one in kept for name in (one.contender, one.baseline)}
    contenders = {name: measure for name, measure in benchmark.contenders.items() if name in names}
    return replace(benchmark, contenders=contenders) if contenders else None


async def _measure(scene: Scene, asked: argparse.Namespace) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for part in PARTS:
        if asked.only and part.name not in asked.only:
            continue
        async with part.open(scene) as benchmarks:
            outcomes += await schedule.run(part.name, _chosen(benchmarks, asked), asked.repeat)
    return outcomes


def _end_on_sigterm() -> None:
    """Stop the processes and give the disk back, as Ctrl-C does."""
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _run(asked: argparse.Namespace) -> Results:
    _end_on_sigterm()
    shares = share_out(available())
    began_at, began = datetime.now(UTC), time.monotonic()
    machine = describe_machine(len(shares.everything))
    asked.out.mkdir(parents=True, exist_ok=True)  # not the system's scratch directory, which may be in memory
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=asked.out.absolute()) as directory:
        async with open_scene(Path(directory), shares, quick=asked.quick or asked.check) as scene:
            versions = await describe_versions(scene.postgres_url, embedded_kafka=scene.embedded_kafka)
            with working_on(shares.load):
                outcomes = await _measure(scene, asked)
    return Results(
        began_at=began_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        machine=machine,
        versions=versions,
        outcomes=[results.outcome_as_data(outcome) for outcome in outcomes],
    )


def _check(outcomes: Sequence[Outcome], *, everything: bool) -> bool:
    """Tell how the ratios compare; where not `everything` was asked for, what was not run is not missed."""
    stored = baseline.read() if everything else baseline.read().of({outcome.name for outcome in outcomes})
    compared = list(baseline.compare(stored, report.verdicts(outcomes)))
    sys.stdout.write("\n".join([*baseline.rows(compared, stored.tolerance), ""]))
    return not any(one.verdict in {"worse", "missing"} for one in compared)


def main() -> int:
    """Do what the command line asks for; 1 where a stored ratio got worse."""
    asked = _arguments()
    if asked.check and not baseline.read().ratios:
        sys.stderr.write("No ratios are stored: `make bench-baseline` stores those of this machine.\n")
        return 1
    if asked.earlier:
        found = results.read(asked.earlier)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_run(asked))
    outcomes = results.outcomes_of(found)
    sys.stdout.write(report.leave(asked.out, found, outcomes))
    if asked.publish:
        report.publish(found, outcomes)
    if asked.write_baseline:
        baseline.write(report.verdicts(outcomes))
    everything = not (asked.only or asked.match)
    return 0 if not asked.check or _check(outcomes, everything=everything) else 1


if __name__ == "__main__":
    sys.exit(main())
