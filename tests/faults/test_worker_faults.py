"""The worker, killed, stopped and joined by others while students post."""

import asyncio
import time
from collections import Counter

import asyncpg
import pytest
from tests.faults import plays
from tests.faults.load import Habits
from tests.faults.observe import rows
from tests.faults.operating import metric, page
from tests.faults.scenario import Scenario
from tests.faults.services import Service

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


# Its successor need not wait for the end of its session.
STATIC = {"QUIZSTREAM_CONSUMER_INSTANCE": "worker-1"}
SESSION_SECONDS = 6.0  # of `worker/log.py`


@pytest.mark.gate
@pytest.mark.faults(broken="worker killed during COPY, before and after the commit", settings=STATIC)
async def test_a_worker_that_crashes_about_a_commit_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await plays.crash_worker(scenario, ("worker_during_copy", "worker_before_commit", "worker_after_commit"))


@pytest.mark.faults(broken="worker killed after poll, in COPY, about the commit and in the rebalance", settings=STATIC)
async def test_a_worker_that_crashes_at_any_point_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await plays.crash_worker(scenario)


@pytest.mark.faults(broken="worker killed at random moments")
async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(Habits(events_each=10_000))
    worker = scenario.deployment.worker
    for _ in range(8):
        await scenario.acked(scenario.chance.randint(50, 600))
        await worker.kill()
        scenario.did("worker killed")
        await worker.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.gate
@pytest.mark.faults(broken="worker stopped inside COPY past its session, another takes over, the first goes on")
async def test_a_zombie_neither_blocks_its_successor_nor_writes_afterwards(scenario: Scenario) -> None:
    await plays.zombie(scenario)


@pytest.mark.faults(broken="1 to 6 workers join and leave every 2 s, in order or killed")
async def test_workers_that_come_and_go_lose_and_double_nothing(scenario: Scenario) -> None:
    deployment = scenario.deployment
    for _ in range(5):
        deployment.add_worker()
    await scenario.start(workers=False)
    await deployment.worker.start()
    scenario.begin_load(Habits(events_each=20_000))
    for worker in deployment.workers[1:]:
        await asyncio.sleep(2)  # the pace of the fault, not a wait for anything
        await worker.spawn()
        scenario.did("a worker joins")
    for _ in range(10):
        await asyncio.sleep(2)  # as above
        await _joins_or_leaves(scenario, scenario.chance.choice(deployment.workers))
    if not any(worker.is_running for worker in deployment.workers):
        await deployment.worker.spawn()
        scenario.did("a worker joins")
    await scenario.healed(seconds=20)
    await scenario.finish()


@pytest.mark.faults(broken="two workers of static membership restarted one after the other, twice, under load")
async def test_a_rolling_restart_of_static_members_moves_no_partition(scenario: Scenario) -> None:
    deployment = scenario.deployment
    deployment.add_worker()
    for number, worker in enumerate(deployment.workers):
        worker.environment = {**worker.environment, "QUIZSTREAM_CONSUMER_INSTANCE": f"worker-{number}"}
    await asyncio.gather(*(service.start() for service in deployment.services))
    scenario.begin_load(Habits(events_each=20_000))
    await scenario.healed(everywhere=True)
    for worker, other in 2 * list(zip(deployment.workers, reversed(deployment.workers), strict=True)):
        await scenario.acked(100)
        placed, began = await metric(scenario, other, "quizstream_rebalances_total"), time.monotonic()
        await worker.terminate()
        scenario.did("a worker leaves for a moment")
        await worker.spawn()
        await scenario.healed(everywhere=True)
        # Who is away for longer than a session, on a slow machine, is given up once and taken back once.
        allowed = 0 if time.monotonic() - began < SESSION_SECONDS else 2
        more = await metric(scenario, other, "quizstream_rebalances_total") - placed
        assert more <= allowed, f"the other worker was rebalanced {more} times"
        await worker.until_ready()
    await scenario.finish()


@pytest.mark.faults(broken="one submission sends 90 % of all events")
async def test_a_submission_with_nearly_all_of_the_traffic_holds_up_no_other(scenario: Scenario) -> None:
    await scenario.start()
    await asyncio.gather(scenario.deployment.gateway.until_ready(), scenario.deployment.worker.until_ready())
    scenario.begin_load(Habits(students=1, events_each=200_000, largest_batch=600, longest_pause_seconds=0.05))
    scenario.begin_load(Habits(students=11, events_each=20_000, largest_batch=2, longest_pause_seconds=2.0))
    scenario.did("one submission sends nearly everything")
    await scenario.acked(6_000)
    await scenario.healed(everywhere=True)
    await scenario.acked(2_000)
    taken = Counter(
        one.content.submission
        for request in scenario.ledger.requests
        if request.outcome == "acked"
        for one in request.elements
    )
    assert taken[1] >= 0.9 * taken.total()
    await scenario.finish()


@pytest.mark.faults(broken="gateway killed after the acknowledgement; the page goes on with another attempt")
async def test_a_tail_sent_again_under_the_next_attempt_stays_where_it_was_first_filed(scenario: Scenario) -> None:
    deployment = scenario.deployment
    await scenario.start(workers=False)
    await deployment.gateway.until_ready()
    quiz = page(scenario, 1_000)
    await quiz.deliver(quiz.composer.compose(5), attempt=1)
    await deployment.gateway.kill()
    await deployment.gateway.start(crash_at="gateway_after_ack")
    tail = [one for one in quiz.composer.compose(20) if one.recognised and one.content.event_type]
    lost = await quiz.post(tail, attempt=1)
    assert lost.status is None
    await deployment.gateway.crashed()
    scenario.did("204 lost")
    await deployment.gateway.start()
    await quiz.deliver([*tail, *quiz.composer.compose(5)], attempt=2)
    await deployment.worker.spawn()
    await scenario.caught_up()
    session = await asyncpg.connect(deployment.database_url)
    try:
        filed = {row.content: row.attempt for row in await rows(session)}
    finally:
        await session.close()
    assert {filed[one.content] for one in tail} == {1}
    assert set(filed.values()) == {1, 2}
    await scenario.finish()


async def _joins_or_leaves(scenario: Scenario, worker: Service) -> None:
    if not worker.is_running:
        await worker.spawn()
        scenario.did("a worker joins")
    elif scenario.chance.random() < 0.5:
        await worker.kill()
        scenario.did("a worker is killed")
    else:
        await worker.terminate()
        scenario.did("a worker leaves")
