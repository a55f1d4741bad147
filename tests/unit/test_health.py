"""When a process is ready."""

from prometheus_client import CollectorRegistry, Gauge

from quizstream.runtime.health import Health, Probe


class HandClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Hop:
    """A dependency that is alive or not."""

    def __init__(self) -> None:
        self.alive = True

    async def check(self) -> None:
        if not self.alive:
            raise ConnectionRefusedError


def watched(*names: str) -> tuple[Health, HandClock, dict[str, Hop], dict[str, Probe]]:
    clock, hops = HandClock(), {name: Hop() for name in names}
    probes = {name: Probe(name, hop.check) for name, hop in hops.items()}
    return Health(tuple(probes.values()), clock=clock), clock, hops, probes


def test_a_process_without_dependencies_is_ready() -> None:
    assert Health().readiness() == (True, (), False)


async def test_a_hop_that_never_answered_is_red_and_one_success_makes_it_green() -> None:
    health, _, _, probes = watched("kafka")
    assert health.readiness() == (False, ("kafka",), False)
    await health.check(probes["kafka"])
    assert health.readiness().ready


async def test_a_hop_is_red_after_ten_seconds_of_failure_and_not_before() -> None:
    health, clock, hops, probes = watched("kafka")
    await health.check(probes["kafka"])
    hops["kafka"].alive = False
    await health.check(probes["kafka"])
    clock.now += 9.9
    await health.check(probes["kafka"])
    assert health.readiness().ready
    clock.now += 0.1
    assert not health.readiness().ready


async def test_one_success_makes_a_red_hop_green_and_starts_the_time_anew() -> None:
    health, clock, hops, probes = watched("kafka")
    await health.check(probes["kafka"])
    health.report_failure("kafka")
    clock.now += 60
    assert not health.readiness().ready
    await health.check(probes["kafka"])
    assert health.readiness().ready
    hops["kafka"].alive = False
    await health.check(probes["kafka"])
    assert health.readiness().ready


async def test_only_the_dead_hop_is_named() -> None:
    health, clock, hops, probes = watched("kafka", "postgres")
    for probe in probes.values():
        await health.check(probe)
    hops["postgres"].alive = False
    await health.check(probes["postgres"])
    clock.now += 10
    assert health.readiness() == (False, ("postgres",), False)


async def test_a_failure_counts_from_the_beginning_of_its_check() -> None:
    health, clock, _, probes = watched("kafka")
    await health.check(probes["kafka"])

    async def hang() -> None:
        clock.now += 6
        raise TimeoutError

    await health.check(Probe("kafka", hang))
    clock.now += 4
    assert not health.readiness().ready


async def test_a_draining_process_is_not_ready_and_names_no_hop() -> None:
    health, _, _, probes = watched("kafka")
    await health.check(probes["kafka"])
    health.set_draining()
    assert health.readiness() == (False, (), True)


async def test_a_gauge_shows_which_hop_is_up() -> None:
    health, _, _, probes = watched("kafka", "postgres")
    registry = CollectorRegistry()
    health.publish(Gauge("hop_up", "up", ("hop",), registry=registry))
    await health.check(probes["kafka"])
    assert registry.get_sample_value("hop_up", {"hop": "kafka"}) == 1.0
    assert registry.get_sample_value("hop_up", {"hop": "postgres"}) == 0.0
