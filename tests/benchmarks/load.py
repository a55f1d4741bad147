"""Starts the load generator and makes a measurement of its report."""

from tests.benchmarks.child import ask
from tests.benchmarks.cores import Cores
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.orders import Order, Report
from tests.benchmarks.scene import Scene

LATE = "late_p99_ms"
"""How late the generator itself sent, at most, in 99 of 100 cases: part of the latencies beside it."""


async def generate(scene: Scene, order: Order, cores: Cores | None = None) -> Report:
    """Run the generator on the load's cores, or on those that are named.

    Raises:
        RuntimeError: it failed, or an answer was missing or not the expected one.

    """
    report = await ask("tests.benchmarks.generator", order, Report, cores or scene.shares.load)
    if report.unexpected or report.unanswered:
        raise RuntimeError(f"answers other than {order.expected_status}: {report.unexpected}, {report.unanswered} none")
    return report


def measurement(report: Report) -> Measurement:
    """Give what a report says of the server; of the generator its own CPU time, as a share of the time it had."""
    return Measurement(
        work=report.answered,
        wall_seconds=report.wall_seconds,
        cpu_seconds=report.cpu_seconds,
        latency_seconds=report.latency_seconds,
        peak_rss_bytes={name: size for name, size in report.peak_rss_bytes.items() if name != "load"},
        others=of_the_generator(report),
    )


def of_the_generator(report: Report) -> dict[str, float]:
    """Give the figures by which one sees whether the generator itself was measured."""
    late = {LATE: 1e3 * report.late_seconds["p99"]} if report.late_seconds else {}
    return {"load_share": report.cpu_seconds["load"] / report.wall_seconds, **late}
