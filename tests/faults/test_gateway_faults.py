"""The gateway killed, drained and spoken to by broken clients while students post."""

import asyncio
from dataclasses import replace

import pytest
from tests.faults import visitors
from tests.faults.issuer import issuing
from tests.faults.load import Habits, body_of
from tests.faults.scenario import Scenario
from tests.faults.visitors import fronted
from tests.waiting import eventually, scaled

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = Habits(events_each=20_000)


@pytest.mark.gate
@pytest.mark.faults(broken="gateway killed before it publishes, and after the acknowledgement before the 204")
async def test_a_gateway_that_crashes_at_any_point_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    gateway = scenario.deployment.gateway
    for point in ("gateway_before_produce", "gateway_after_ack"):
        await scenario.acked(100)
        await gateway.kill()
        scenario.did("gateway killed")
        await gateway.spawn(crash_at=f"{point}:SIGKILL:{scenario.chance.randint(20, 60)}")
        await gateway.crashed()
        scenario.did(f"crash at {point}")
        await gateway.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="gateway killed 8 times")
async def test_a_gateway_killed_again_and_again_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for _ in range(8):
        await scenario.acked(scenario.chance.randint(50, 300))
        await scenario.deployment.gateway.kill()
        scenario.did("gateway killed")
        await scenario.deployment.gateway.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="gateway told to end under load, 4 times")
async def test_a_gateway_that_is_drained_keeps_every_promise(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for _ in range(4):
        await scenario.acked(scenario.chance.randint(100, 400))
        assert await scenario.deployment.gateway.terminate() == 0
        scenario.did("gateway drained")
        await scenario.deployment.gateway.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="gateway killed 4 times while its batches are with a broker that stands still")
async def test_a_gateway_killed_while_it_publishes_loses_and_doubles_nothing(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    for _ in range(4):
        await scenario.acked(100)
        scenario.deployment.stage.kafka.pause()
        await scenario.waiting(6)
        await scenario.deployment.gateway.kill()
        scenario.did("gateway killed while it publishes")
        scenario.deployment.stage.kafka.resume()  # it still finds in its socket what the gateway sent
        await scenario.deployment.gateway.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="204 lost with a gateway, or never sent by it, and the batch sent again through another")
async def test_what_one_gateway_took_is_stored_once_when_it_is_sent_again_through_another(scenario: Scenario) -> None:
    scenario.deployment.add_gateway()
    await scenario.start()
    scenario.begin_load(Habits(events_each=20_000, loses_the_answer=0.2))
    for point in 2 * ("gateway_after_ack", "gateway_before_produce"):
        await scenario.acked(200)
        gateway = scenario.chance.choice(scenario.deployment.gateways)
        await gateway.kill()
        await gateway.spawn(crash_at=f"{point}:SIGKILL:{scenario.chance.randint(5, 20)}")
        await gateway.crashed()
        scenario.did(f"{gateway.label}: crash at {point}")
        await scenario.acked(100)  # through the other one
        await gateway.spawn()
        await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="all answers lost for 6 s, twice; then 150 clients come back at once")
async def test_a_storm_of_repetitions_is_stored_once(scenario: Scenario) -> None:
    await scenario.start()
    await scenario.deployment.gateway.until_ready()
    async with fronted(scenario.deployment.gateway) as front:
        scenario.begin_load(replace(LONG, students=150, longest_pause_seconds=3.0), [front])
        for _ in range(2):
            await scenario.acked(1_000)
            front.lose_answers()
            scenario.did("answers lost")
            await asyncio.sleep(6)  # the fault lasts that long: each student has asked by then, and waits
            front.heal()
            scenario.note("all clients come back")
            await scenario.healed()
        await scenario.acked(1_000)
        await scenario.finish()


@pytest.mark.faults(broken="80 bodies of 1 MiB that stop before their last byte, 12 of them of one submission")
async def test_beyond_the_budget_the_answer_is_503_at_once_and_one_submission_never_fills_it(
    scenario: Scenario,
) -> None:
    """64 MiB for all, an eighth of it, so 8 MiB, for one submission."""
    await scenario.start()
    gateway = scenario.deployment.gateway
    await gateway.until_ready()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    async with visitors.hogging(gateway) as hog:
        greedy = await asyncio.gather(*(hog(visitors.VISITOR, 2**20) for _ in range(12)))
        scenario.did("one submission fills its share")
        assert set(await visitors.refusals(greedy, 4)) == {"submission_overloaded"}
        assert sum(answer.done() for answer in greedy) == 4
        await scenario.acked(100)  # there is room for everybody else
        others = await asyncio.gather(*(hog(visitors.VISITOR - 1 - number, 2**20) for number in range(68)))
        assert "overloaded" in await visitors.refusals(others, 5)
        for size_bytes in (2**17, 2**13, 2**9):  # what the refused ones have left free, down to a few events
            await asyncio.gather(*(hog(800_000 + number, size_bytes) for number in range(64)))
        scenario.did("the budget is full")
        first = len(scenario.ledger.requests)
        await scenario.answered(503, "overloaded")
        told = [one.seconds for one in scenario.ledger.requests[first:] if one.code == "overloaded"]
        assert max(told) < scaled(2), "at once, not at the deadline of 4 s"
    await scenario.healed()
    await scenario.acked(300)
    await scenario.finish()


CUT_SECONDS = 10  # instead of 75, so that the cut can be waited for


@pytest.mark.faults(
    broken="1,000 idle sockets, 200 heads and 100 bodies that trickle, 3 bodies without an end, for half a minute",
    settings={"QUIZSTREAM_KEEPALIVE_SECONDS": str(CUT_SECONDS)},
)
async def test_slow_and_endless_requests_are_cut_and_starve_nobody(scenario: Scenario) -> None:
    await scenario.start()
    await scenario.deployment.gateway.until_ready()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    gateway = scenario.deployment.gateway
    idle = [(await visitors.connected(gateway))[1] for _ in range(1_000)]
    sized = visitors.head(visitors.VISITOR, "Content-Length: 100000", "Content-Type: application/json", "")
    chunk = b"8000\r\n" + 32768 * b" " + b"\r\n"
    scenario.did("slow clients come")
    async with visitors.held(idle):
        heads = [visitors.trickle(gateway, visitors.head(), b"X", 1.0) for _ in range(200)]
        bodies = [visitors.trickle(gateway, sized, b" ", 1.0) for _ in range(100)]
        # Three times 16 MiB fit into the budget of 64, so each comes to its own limit.
        endless = [visitors.trickle(gateway, visitors.chunked(one), chunk, 0.02) for one in range(900_000, 900_003)]
        async with asyncio.timeout(scaled(60)):
            answers = await asyncio.gather(*heads, *bodies, *endless)
        scenario.note("slow clients cut")
        assert set(answers[:200]) == {b""}, "a head that does not come is cut"
        for first, status in ((answers[200:300], b"408"), (answers[300:], b"413")):
            assert {answer[9:12] for answer in first} <= {status, b""}  # a reset may overtake the answer
            assert any(answer[9:12] == status for answer in first)
        await scenario.healed()

        async def alone() -> bool:
            return gateway.clients() < 100

        await eventually(alone, CUT_SECONDS + 10)
    await scenario.finish()


@pytest.mark.faults(broken="60 gzip, deflate and zstd bodies that stand for 256 MiB, 90 that are cut off or broken")
async def test_bombs_and_broken_streams_harm_nobody(scenario: Scenario) -> None:
    await scenario.start()
    await scenario.deployment.gateway.until_ready()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    bombs, small = await asyncio.to_thread(visitors.bombs), visitors.small_bodies()
    for _ in range(5):
        requests = [visitors.packed(coding, bomb) for coding, bomb in bombs.items()]
        cut = [visitors.packed(coding, body[: len(body) // 2], 900_000) for coding, body in small.items()]
        broken = [visitors.packed(coding, b"\x00\x01no stream", 900_001) for coding in bombs]
        scenario.did("bombs and broken streams")
        exchanges = [visitors.exchange(scenario.deployment.gateway, one) for one in 4 * requests]
        exchanges += [visitors.exchange(scenario.deployment.gateway, one) for one in 3 * (cut + broken)]
        answers = await asyncio.gather(*exchanges)
        assert {answer[9:12] for answer in answers[: 4 * len(requests)]} <= {b"413", b"503", b""}
        assert {answer[9:12] for answer in answers[4 * len(requests) :]} == {b"400"}
        await scenario.acked(100)
    await scenario.healed()
    await scenario.finish()


@pytest.mark.faults(broken="address of the keys dead, then silent, then healthy, then dead again")
async def test_without_keys_the_answer_is_503_and_never_401(scenario: Scenario) -> None:
    async with issuing() as issuer:
        scenario.deployment.gateway.configure(QUIZSTREAM_JWKS_URL=issuer.url)
        issuer.link.cut()
        scenario.did("address of the keys dead")
        await scenario.start()
        await scenario.deployment.gateway.until_ready()
        scenario.begin_load(LONG)  # with tokens of the secret
        scenario.begin_load(replace(LONG, students=4, token=issuer.token(), impatient=0.0))
        await scenario.answered(503, "keys_unavailable")
        issuer.link.heal()
        issuer.link.half_open()
        scenario.did("address of the keys silent")
        await scenario.acked(200)
        await scenario.answered(503, "keys_unavailable")
        issuer.link.heal()
        scenario.note("address of the keys healthy")
        await scenario.taken_from(range(13, 17), 60)
        issuer.link.cut()
        scenario.did("address of the keys dead")
        await scenario.acked(300)
        await scenario.taken_from(range(13, 17), 10)
        await scenario.healed()
        await scenario.finish()


@pytest.mark.faults(
    broken="one unusable event among a thousand, at the start, in the middle, at the end; worker killed"
)
async def test_one_bad_event_among_a_thousand_harms_no_other(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    students = [scenario.enrol(Habits(impatient=0.0)) for _ in range(6)]
    for place in (0, 500, 999):
        await scenario.acked(50)
        for student in students:
            elements = student.composer.marked(999)
            elements.insert(place, student.composer.unusable())
            request = await student.post(elements)
            assert (request.outcome, request.quarantined) == ("acked", 1)
        await scenario.deployment.worker.kill()
        scenario.did("worker killed")
        await scenario.deployment.worker.spawn()
        await scenario.healed()
    await scenario.finish()


BACKLOG = Habits(padding=1_000 * "漢", impatient=0.0)  # 5 * 2^20 UTF-16 units of 3 bytes each, as localStorage holds


@pytest.mark.faults(broken="broker killed while a page gathers 15 MiB of Chinese text; answer lost, sent again")
async def test_a_full_backlog_is_taken_after_the_outage_and_stored_once(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    await scenario.deployment.stage.kafka.kill()
    scenario.did("broker killed")
    student = scenario.enrol(BACKLOG)
    backlog = student.composer.marked(4_900)
    assert 14 * 2**20 < len(body_of(backlog, None)) < 16 * 2**20
    assert (await student.post(backlog)).status == 503
    await scenario.deployment.stage.kafka.start()
    await scenario.healed(seconds=20)

    async def taken() -> bool:
        return (await student.post(backlog)).outcome == "acked"

    await eventually(taken, 30)
    assert (await student.post([*backlog, *student.composer.marked(3)])).outcome == "acked"
    await scenario.finish()


@pytest.mark.faults(broken="clients that go away in the headers, in the body, and before the answer; silent ones")
async def test_clients_that_break_off_harm_nobody(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    async with visitors.break_off(scenario.deployment.gateways, scenario.chance, 240):
        scenario.did("240 clients break off")
        await scenario.acked(1_000)
        await scenario.healed()
    await scenario.finish()
