"""How soon an event is readable: posts one at a time, and asks the reader for it until it is there.

python -m tests.benchmarks.prober < probing.json > probed.json
"""

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import msgspec
import uvloop
from tests.acceptance.system import path_of, token
from tests.benchmarks.summary import percentiles

EVERY_SECONDS = 0.05
ASK_EVERY_SECONDS = 0.02  # so a figure is up to so much too high, and half of it in the mean
FIRST_SUBMISSION = 900_000_001
_PROBES_OF_A_SUBMISSION = 20  # so that an answer stays short
_PATIENCE_SECONDS = 20.0


class Probing(msgspec.Struct):
    """Where to post and read, and for how long."""

    gateway_port: int
    reader_port: int
    seconds: float


class Probed(msgspec.Struct):
    """How many events were acknowledged, how many of them became readable, and how long that took from the 204."""

    acknowledged: int
    readable: int
    after_seconds: dict[str, float]


@dataclass
class Prober:
    """Events under way by submission and marker, with the time of their 204."""

    probing: Probing
    session: aiohttp.ClientSession
    waiting: dict[int, dict[str, float]] = field(default_factory=dict)
    after_seconds: list[float] = field(default_factory=list)
    acknowledged: int = 0
    all_posted: bool = False

    async def run(self) -> Probed:
        """Post for the given time, then wait for the last events."""
        asking = asyncio.create_task(self._ask(), name="ask")
        async with asyncio.TaskGroup() as posts:
            begin = time.monotonic()
            for number in range(int(self.probing.seconds / EVERY_SECONDS)):
                await asyncio.sleep(begin + number * EVERY_SECONDS - time.monotonic())
                posts.create_task(self._post(number))
        self.all_posted = True
        with suppress(TimeoutError):
            await asyncio.wait_for(asking, _PATIENCE_SECONDS)
        return Probed(self.acknowledged, len(self.after_seconds), percentiles(self.after_seconds))

    async def _post(self, number: int) -> None:
        submission, marker = FIRST_SUBMISSION + number // _PROBES_OF_A_SUBMISSION, f"probe-{number}"
        url = f"http://127.0.0.1:{self.probing.gateway_port}{path_of(submission)}"
        event = {"event_type": "probe", "client_timestamp": time.time(), "event_data": marker}
        async with self.session.post(url, json={"quiz_submission_events": [event]}) as answer:
            answer.raise_for_status()
        self.acknowledged += 1
        self.waiting.setdefault(submission, {})[marker] = time.monotonic()

    async def _ask(self) -> None:
        while not self.all_posted or any(self.waiting.values()):
            for submission in [one for one, markers in self.waiting.items() if markers]:
                self._found(submission, await self._read(submission))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _read(self, submission: int) -> set[str]:
        url = f"http://127.0.0.1:{self.probing.reader_port}{path_of(submission)}"
        async with self.session.get(url) as answer:
            answer.raise_for_status()
            found = json.loads(await answer.read())["quiz_submission_events"]
        return {event["event_data"] for event in found}

    def _found(self, submission: int, markers: set[str]) -> None:
        now, waiting = time.monotonic(), self.waiting[submission]
        for marker in markers & waiting.keys():
            self.after_seconds.append(now - waiting.pop(marker))


async def _probe(probing: Probing) -> Probed:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token()}"}) as session:
        return await Prober(probing, session).run()


def main() -> None:
    """Do what stdin orders."""
    probing = msgspec.json.decode(sys.stdin.buffer.read(), type=Probing)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_probe(probing))))


if __name__ == "__main__":
    main()
