"""Whoever cannot deliver says so, and why; nobody else does."""

import pytest
from tests.faults.load import Habits
from tests.faults.scenario import Scenario

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.faults(broken="broker stopped, store killed, the link of one process cut, one after the other, until seen")
async def test_a_dead_hop_is_named_by_those_who_need_it_and_by_nobody_else(scenario: Scenario) -> None:
    """While a process is red it is alive: `/healthz` is watched all the time."""
    stage = scenario.deployment.stage
    await scenario.start()
    scenario.begin_load(Habits(events_each=1_000_000))
    await scenario.acked(100)
    await scenario.watch.green()

    stage.kafka.pause()
    scenario.did("broker stopped")
    await scenario.red(gateway="kafka", worker_1="kafka")
    stage.kafka.resume()
    await scenario.healed(seconds=20)
    await scenario.watch.green()

    await stage.postgres.kill()
    scenario.did("PostgreSQL killed")
    await scenario.red(worker_1="postgresql", reader="postgresql")
    await stage.postgres.start()
    await scenario.healed()
    await scenario.watch.green()

    stage.links["reader-postgres"].half_open()
    scenario.did("link of the reader half open")
    await scenario.red(reader="postgresql")
    stage.links["reader-postgres"].heal()
    await scenario.watch.green()
    await scenario.healed()
    await scenario.finish()
