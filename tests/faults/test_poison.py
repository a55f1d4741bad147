"""Records that the store refuses, and repetitions: what it takes no fault to break."""

import pytest
from tests.faults import plays
from tests.faults.scenario import Scenario

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.faults(broken="records that are undecodable, of another schema, or refused by the server, alone and many")
async def test_poison_goes_to_quarantine_and_harms_no_other_event(scenario: Scenario) -> None:
    await plays.poison(scenario)


@pytest.mark.faults(broken="a third of the answers lost, the batches sent again, alone and with newer events")
async def test_what_is_sent_again_is_stored_once(scenario: Scenario) -> None:
    await plays.repeat(scenario)
