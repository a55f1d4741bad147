"""What a canary tells of the hops it passes."""

import asyncio
from collections.abc import Iterator
from itertools import chain, islice, repeat

import pytest
from pydantic import SecretStr

from quizstream.canary.api import Addresses
from quizstream.canary.app import addresses_of, token_source, turns
from quizstream.canary.findings import Findings
from quizstream.canary.flight import Canary, Flight, HopFailed, fly, new_canary
from quizstream.canary.settings import CanarySettings
from quizstream.contracts.canaries import canary_resources
from quizstream.contracts.metrics import CANARY_METRICS
from quizstream.runtime.health import RED_AFTER_SECONDS, Health
from quizstream.runtime.settings import SettingsError
from quizstream.runtime.telemetry import Meters

RESOURCES = canary_resources(3)
PATIENCE_SECONDS = 0.2
SECRET = "a secret of the tests, 32 bytes or more"
ARRIVED = Flight(frozenset({"post", "store", "get"}), {}, 0.1)
LOST = Flight(frozenset({"post", "get"}), {"store": "not_readable_in_time"})


class FakeApi:
    """An API whose answers are told beforehand."""

    def __init__(self, answers: Iterator[bool | str], refusal: str | None = None) -> None:
        self._answers = answers
        self._refusal = refusal
        self.posted: list[Canary] = []

    async def post(self, canary: Canary) -> None:
        self.posted.append(canary)
        if self._refusal:
            raise HopFailed(self._refusal)

    async def shows(self, canary: Canary) -> bool:
        assert self.posted == [canary]
        answer = next(self._answers)
        if isinstance(answer, str):
            raise HopFailed(answer)
        return answer


async def flown(*answers: bool | str, then: bool | str = False, refusal: str | None = None) -> Flight:
    api = FakeApi(chain(answers, repeat(then)), refusal)
    return await fly(api, new_canary(RESOURCES[0]), patience_seconds=PATIENCE_SECONDS)


async def test_a_canary_that_can_be_read_tells_after_what_time() -> None:
    flight = await flown(False, False, True)
    assert flight._replace(readable_after_seconds=0.1) == ARRIVED
    assert flight.readable_after_seconds is not None
    assert 0.05 < flight.readable_after_seconds < PATIENCE_SECONDS + 1


async def test_a_canary_that_was_taken_and_is_never_shown_was_lost_on_the_way_to_the_store() -> None:
    assert await flown() == LOST


async def test_of_a_get_that_fails_and_comes_back_only_the_canary_counts() -> None:
    assert (await flown("status_503", True)).failed == {}
    assert await flown("status_503") == LOST


async def test_where_get_fails_nothing_is_said_of_the_store() -> None:
    assert await flown(then="ClientConnectorError") == Flight(frozenset({"post"}), {"get": "ClientConnectorError"})


async def test_where_post_fails_get_is_asked_all_the_same() -> None:
    assert await flown(refusal="status_503") == Flight(frozenset({"get"}), {"post": "status_503"})
    both = await flown(then="status_500", refusal="status_503")
    assert both == Flight(frozenset(), {"post": "status_503", "get": "status_500"})


def test_canaries_differ() -> None:
    assert len({new_canary(RESOURCES[0]).mark for _ in range(100)}) == 100


class Watched:
    """Findings and the health that is made of them, with time that passes when told."""

    def __init__(self) -> None:
        self.meters = Meters(CANARY_METRICS)
        self.findings = Findings(self.meters)
        self.now = 0.0
        self.health = Health(self.findings.probes(), clock=lambda: self.now)

    async def failing(self) -> set[str]:
        """The hops that are dead when things stay as they are."""
        for probe in self.findings.probes():
            await self.health.check(probe)
        self.now += RED_AFTER_SECONDS
        for probe in self.findings.probes():
            await self.health.check(probe)
        return set(self.health.readiness().failing)

    def count(self, name: str, **labels: str) -> float | None:
        return self.meters.registry.get_sample_value(name, labels)


async def test_ready_after_the_first_canary_that_arrives() -> None:
    watched = Watched()
    assert not watched.health.readiness().ready
    watched.findings.note(0, ARRIVED)
    assert await watched.failing() == set()
    assert watched.count("quizstream_canary_readable_seconds_count") == 1


async def test_the_dead_hop_is_named_and_counted() -> None:
    watched = Watched()
    watched.findings.note(0, ARRIVED)
    watched.findings.note(1, LOST)
    assert await watched.failing() == {"store"}
    watched.findings.note(2, Flight(frozenset(), {"post": "status_503", "get": "status_503"}))
    assert await watched.failing() == {"post", "store", "get"}
    assert watched.count("quizstream_canary_failures_total", hop="store") == 1


async def test_a_partition_that_is_stuck_is_not_forgotten_for_another_that_works() -> None:
    watched = Watched()
    watched.findings.note(1, LOST)
    watched.findings.note(0, ARRIVED)
    assert await watched.failing() == {"store"}
    watched.findings.note(1, ARRIVED)
    assert await watched.failing() == set()


async def test_get_is_alive_as_soon_as_it_answers_for_any_partition() -> None:
    watched = Watched()
    watched.findings.note(1, ARRIVED)
    watched.findings.note(1, Flight(frozenset({"post"}), {"get": "status_503"}))
    assert await watched.failing() == {"get"}
    watched.findings.note(2, ARRIVED)
    assert await watched.failing() == set()


async def test_of_a_hop_that_no_canary_has_reached_nothing_good_is_said() -> None:
    watched = Watched()
    watched.findings.note(0, Flight(frozenset({"get"}), {"post": "status_503"}))
    _, store, get = watched.findings.probes()
    await watched.health.check(get)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.check(), 0.05)
    assert watched.health.readiness().failing == ("post", "store")


def test_partitions_take_turns() -> None:
    assert list(islice(turns(RESOURCES, lambda: None), 7)) == [0, 1, 2, 0, 1, 2, 0]


def test_partitions_that_fail_are_tried_every_second_time_in_turn() -> None:
    findings = Findings(Meters(CANARY_METRICS))
    findings.note(1, LOST)
    findings.note(2, LOST)
    tried = []
    for partition in islice(turns(RESOURCES, findings.to_be_retried), 8):
        tried.append(partition)
        findings.note(partition, LOST if partition else ARRIVED)
    assert tried == [0, 1, 1, 2, 2, 1, 0, 2]


def test_one_public_address_is_enough_and_two_others_go_before_it() -> None:
    public = CanarySettings(public_url="https://quiz.example.edu/")
    assert addresses_of(public) == Addresses("https://quiz.example.edu", "https://quiz.example.edu")
    own = CanarySettings(canary_post_url="http://gateway:8080", canary_get_url="http://reader:8080")
    assert addresses_of(own) == Addresses("http://gateway:8080", "http://reader:8080")


@pytest.mark.parametrize("given", [{}, {"canary_post_url": "http://gateway:8080"}])
def test_without_addresses_there_is_no_start(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="QUIZSTREAM_PUBLIC_URL"):
        addresses_of(CanarySettings.model_validate(given))


def test_a_token_is_given_or_signed_and_without_either_there_is_no_start() -> None:
    assert token_source(CanarySettings(canary_token=SecretStr("given")))() == "given"
    assert token_source(CanarySettings(jwt_secret=SecretStr(SECRET)))().count(".") == 2
    with pytest.raises(SettingsError, match="QUIZSTREAM_CANARY_TOKEN"):
        token_source(CanarySettings())
