"""What `/readyz` is made of: each process names the hop that is dead, and no other."""

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg
from pydantic import SecretStr
from tests.databases import away
from tests.waiting import eventually

from quizstream.contracts.access import grant_from_claims
from quizstream.contracts.errors import TokenRefused, keys_unavailable
from quizstream.contracts.metrics import PROCESS_METRICS, READER_METRICS, WORKER_METRICS
from quizstream.local import ports
from quizstream.reader.app import opened
from quizstream.reader.settings import ReaderSettings
from quizstream.runtime.access import Refusals, open_verifier
from quizstream.runtime.health import RED_AFTER_SECONDS, Health, Probe
from quizstream.runtime.lifecycle import Lifetime
from quizstream.runtime.telemetry import Meters
from quizstream.worker.app import Assembly, writing
from quizstream.worker.batch import TopicPartition
from quizstream.worker.observe import Observer
from quizstream.worker.settings import WorkerSettings

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def dead(probes: Sequence[Probe]) -> set[str]:
    """The hops that `/readyz` names when things stay as they are; it knows them alive before."""
    now = 0.0
    health = Health(probes, clock=lambda: now)
    for probe in probes:
        health.report_success(probe.name)
    for passed_seconds in (0.0, RED_AFTER_SECONDS):
        now = passed_seconds
        for probe in probes:
            await health.check(probe)
    return set(health.readiness().failing)


async def until_dead(probes: Sequence[Probe], *hops: str) -> None:
    async def so() -> bool:
        return await dead(probes) == set(hops)

    await eventually(so, 30)


async def test_a_worker_names_the_store_while_it_is_away_and_nothing_else(
    settings: WorkerSettings, session: Session, postgres_url: str
) -> None:
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))
    async with writing(settings, Lifetime(), meters) as probes:
        await until_dead(probes)
        async with away(session, postgres_url):
            await until_dead(probes, "postgresql")
        await until_dead(probes)


async def test_a_worker_that_never_reached_kafka_names_it(settings: WorkerSettings) -> None:
    nobody = f"127.0.0.1:{ports.any_free()}"
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))
    async with writing(settings.model_copy(update={"kafka_bootstrap_servers": nobody}), Lifetime(), meters) as probes:
        await until_dead(probes, "kafka")


async def test_a_worker_names_partitions_that_wait_for_an_operator(settings: WorkerSettings) -> None:
    observer = Observer(Meters((*PROCESS_METRICS, *WORKER_METRICS)))
    partitions = [probe for probe in Assembly(settings, observer).probes() if probe.name == "partitions"]
    assert await dead(partitions) == set()
    observer.partition_stopped(TopicPartition(settings.topic, 0))
    assert await dead(partitions) == {"partitions"}


async def test_a_reader_names_the_store_while_it_is_away(
    database_url: str, session: Session, postgres_url: str
) -> None:
    secret = SecretStr("0123456789abcdef0123456789abcdef")
    settings = ReaderSettings(database_url=SecretStr(database_url), jwt_secret=secret)
    verifier = await open_verifier(settings, grant_from_claims, Refusals(TokenRefused, keys_unavailable))
    async with opened(settings, verifier, Meters(READER_METRICS), Lifetime()) as reader:
        assert await dead([reader.probe]) == set()
        async with away(session, postgres_url):
            await until_dead([reader.probe], "postgresql")
        await until_dead([reader.probe])
