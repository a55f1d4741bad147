"""The README's sizing is the arithmetic over what is stored, and the arithmetic is right."""

from tests.benchmarks import gateway, reader, sizing, worker
from tests.benchmarks.measurement import UNDER_TEST, Measurement
from tests.benchmarks.schedule import Outcome
from tests.benchmarks.sizing import Exam, Inputs
from tests.benchmarks.targets import PRODUCT

MEASURED = Inputs(
    machine="a machine",
    gateway_us={1: 80, 5: 100, 20: 200},
    kafka_us={1: 30, 5: 41, 20: 80},
    worker_us=8,
    worker_per_second=100_000,
    store_us=5.9,
    page_us=500,
    page_store_us=3_000,
    log_bytes=600,
    row_bytes=250,
    wal_bytes=400,
)


def test_the_readme_says_what_the_stored_figures_come_to() -> None:
    text = sizing.README.read_text("utf-8")
    assert sizing.with_paragraph(text, sizing.paragraph(sizing.read())) == text


def test_a_national_exam_is_sized_with_headroom() -> None:
    # 66,667 requests/s of 5 events: 333,333 events/s.
    size = sizing.size(Exam(1_000_000, 5, 15), MEASURED)
    assert size.gateway_cores == 14  # 2 * 66,667 * 100 us
    assert size.kafka_cores == 17  # 2 * 3 replicas * 66,667 * 41 us
    assert size.workers == 7  # 2 * 333,333 / 100,000
    assert size.partitions == 12
    assert size.store_cores == 4  # 2 * 333,333 * 5.9 us
    assert round(size.log_gigabytes) == 2204  # 3600 s * 333,333 * 3 * (600 + 61 / 5) bytes
    assert round(size.store_gigabytes) == 300  # 3600 s * 333,333 * 250 bytes
    assert round(size.wal_megabytes_per_second) == 133


def test_requests_larger_than_any_measured_cost_in_proportion() -> None:
    twenty, forty = (sizing.size(Exam(1_000_000, events, 15), MEASURED) for events in (20, 40))
    assert (twenty.gateway_cores, forty.gateway_cores) == (27, 54)


def test_there_are_never_fewer_partitions_than_workers() -> None:
    size = sizing.size(Exam(3_000_000, 20, 15), MEASURED)
    assert size.workers == 80
    assert size.partitions == 84


def test_inputs_are_medians_of_the_run_and_a_run_of_one_part_gives_none() -> None:
    def measured(cpu_us: float) -> Measurement:
        cpu = {UNDER_TEST: cpu_us / 1e3, "kafka": 1.0, "postgresql": 2.0}
        sizes = {"log_bytes_per_record": 600.0, "store_bytes_per_row": 250.0, "wal_bytes_per_row": 400.0}
        return Measurement(work=1_000, wall_seconds=0.5, cpu_seconds=cpu, others=sizes)

    names = [*(gateway.closed_loop(events) for events in sizing.SHOWN_EVENTS), worker.WRITE, reader.get(1_000, 16)]
    outcomes = [Outcome("part", name, "unit", {PRODUCT: [measured(90), measured(70), measured(80)]}) for name in names]
    found = sizing.inputs_of("a machine", outcomes)
    assert found is not None
    assert found.gateway_us == {1: 80, 5: 80, 20: 80}
    assert (found.worker_us, found.worker_per_second, found.store_us) == (80, 2_000, 2_000)
    assert sizing.inputs_of("a machine", outcomes[:-1]) is None
