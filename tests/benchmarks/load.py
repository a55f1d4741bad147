"""Starts the load generator and makes a measurement of its report."""

import asyncio
import sys

import msgspec
from tests.benchmarks.cores import working_on
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.orders import Order, Report
from tests.benchmarks.scene import ROOT, Scene

from quizstream.local.processes import Program

LATE = "late_p99_ms"
"""How late the generator itself sent, at most, in 99 of 100 cases: part of the latencies beside it."""


async def generate(scene: Scene, order: Order) -> Report:
    """Run the generator on the load's cores.

    Raises:
        RuntimeError: it failed, or an answer was missing or not the expected one.

    """
    program = Program(
        name="load", command=(sys.executable, "-m", "tests.benchmarks.generator"), directory=ROOT, log=ROOT
    )
    with working_on(scene.shares.load):
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
        raise RuntimeError("the load generator failed")
    report = msgspec.json.decode(printed, type=Report)
    if report.unexpected or report.unanswered:
        raise RuntimeError(f"answers other than {order.expected_status}: {report.unexpected}, {report.unanswered} none")
    return report


def measurement(report: Report) -> Measurement:
    """Give what a report says of the server; of the generator its own CPU time, as a share of the time it had."""
    load_share = report.cpu_seconds["load"] / report.wall_seconds
    late = {LATE: 1e3 * report.late_seconds["p99"]} if report.late_seconds else {}
    return Measurement(
        work=report.answered,
        wall_seconds=report.wall_seconds,
        cpu_seconds=report.cpu_seconds,
        latency_seconds=report.latency_seconds,
        peak_rss_bytes={name: size for name, size in report.peak_rss_bytes.items() if name != "load"},
        others={"load_share": load_share, **late},
    )
