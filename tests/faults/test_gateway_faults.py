"""The gateway killed, drained and spoken to by broken clients while students post."""

import asyncio
import contextlib

import pytest
from tests.acceptance.system import path_of
from tests.faults.load import Habits, reading_headers
from tests.faults.scenario import Scenario

from quizstream.local.ports import LOOPBACK

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


@pytest.mark.faults(broken="clients that go away in the headers, in the body, and before the answer; silent ones")
async def test_clients_that_break_off_harm_nobody(scenario: Scenario) -> None:
    await scenario.start()
    scenario.begin_load(LONG)
    await scenario.acked(50)
    port = int(scenario.deployment.gateway.url.rpartition(":")[2])
    head = f"POST {path_of(999)} HTTP/1.1\r\nHost: x\r\n".encode()
    authorised = head + f"Authorization: {reading_headers()['Authorization']}\r\n".encode()
    body = authorised + b'Content-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"quiz_submission_events":['
    silent: list[asyncio.StreamWriter] = []
    try:
        for start in 60 * (b"", head, authorised, body):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(start)
            if scenario.chance.random() < 0.5:
                writer.transport.abort()
            else:
                silent.append(writer)
        scenario.did("240 clients break off")
        await scenario.acked(1_000)
        await scenario.healed()
    finally:
        for writer in silent:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    await scenario.finish()
