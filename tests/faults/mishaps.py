"""Faults by chance: each happens, and is over when the call returns."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
from tests.faults.scenario import Scenario
from tests.faults.services import Service

Mishap = Callable[[Scenario], Awaitable[None]]


async def worker_killed(scenario: Scenario) -> None:
    await _killed(_some_worker(scenario))


async def worker_told_to_end(scenario: Scenario) -> None:
    worker = _some_worker(scenario)
    await worker.terminate()
    await worker.spawn()


async def worker_stopped(scenario: Scenario) -> None:
    worker = _some_worker(scenario)
    worker.pause()
    await asyncio.sleep(scenario.chance.uniform(1, 12))
    worker.resume()
    worker.expected = True


async def gateway_killed(scenario: Scenario) -> None:
    await _killed(scenario.deployment.gateway)


async def gateway_told_to_end(scenario: Scenario) -> None:
    await scenario.deployment.gateway.terminate()
    await scenario.deployment.gateway.spawn()


async def store_killed(scenario: Scenario) -> None:
    await scenario.deployment.stage.postgres.kill()
    await asyncio.sleep(scenario.chance.uniform(0, 5))
    await scenario.deployment.stage.postgres.start()


async def broker_killed(scenario: Scenario) -> None:
    await scenario.deployment.stage.kafka.kill()
    await asyncio.sleep(scenario.chance.uniform(0, 5))
    await scenario.deployment.stage.kafka.start()


async def broker_stopped(scenario: Scenario) -> None:
    scenario.deployment.stage.kafka.pause()
    await asyncio.sleep(scenario.chance.uniform(1, 15))
    scenario.deployment.stage.kafka.resume()


async def sessions_terminated(scenario: Scenario) -> None:
    session = await asyncpg.connect(scenario.deployment.database_url)
    try:
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'quizstream-%'"
        )
    finally:
        await session.close()


async def link_cut(scenario: Scenario) -> None:
    link = scenario.deployment.stage.links[scenario.chance.choice(sorted(scenario.deployment.stage.links))]
    link.cut()
    await asyncio.sleep(scenario.chance.uniform(0, 8))
    link.heal()


async def link_half_open(scenario: Scenario) -> None:
    link = scenario.deployment.stage.links[scenario.chance.choice(sorted(scenario.deployment.stage.links))]
    link.half_open()
    await asyncio.sleep(scenario.chance.uniform(0, 12))
    link.heal()


async def connections_reset(scenario: Scenario) -> None:
    for link in scenario.deployment.stage.links.values():
        link.reset()


def _some_worker(scenario: Scenario) -> Service:
    return scenario.chance.choice(scenario.deployment.workers)


async def _killed(service: Service) -> None:
    await service.kill()
    await service.spawn()


MISHAPS: Sequence[Mishap] = (
    worker_killed,
    worker_told_to_end,
    worker_stopped,
    gateway_killed,
    gateway_told_to_end,
    store_killed,
    broker_killed,
    broker_stopped,
    sessions_terminated,
    link_cut,
    link_half_open,
    connections_reset,
)
