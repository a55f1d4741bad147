"""Somebody who reads logs page by page while events arrive."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import aiohttp
from tests.acceptance.system import path_of
from tests.faults.load import reading_headers
from tests.faults.scenario import Scenario
from tests.faults.verdict import Read

_MOST_PAGES = 12
_PATIENCE = aiohttp.ClientTimeout(total=10)


@asynccontextmanager
async def reading(scenario: Scenario, submissions: int, pause_seconds: float = 0.0) -> AsyncIterator[None]:
    """Read logs of the first so many submissions, one after the other, while the body runs."""
    task = asyncio.create_task(_read_on(scenario, submissions, pause_seconds))
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _read_on(scenario: Scenario, submissions: int, pause_seconds: float) -> None:
    chance = random.Random(f"{scenario.seed}-pages")
    async with aiohttp.ClientSession(headers=reading_headers(), timeout=_PATIENCE) as client:
        while True:
            first = f"?attempt=1&per_page={chance.choice((3, 7, 50, 200))}"
            submission = chance.randint(1, submissions)
            read = await _read(client, scenario.deployment.reader.url + path_of(submission) + first, submission)
            if read is not None:
                scenario.reads.append(read)
            await asyncio.sleep(pause_seconds)


async def _read(client: aiohttp.ClientSession, url: str, submission: int) -> Read | None:
    """A log, or its first pages; None where it is empty, or the reader away. A page that fails is asked for again."""
    ids: list[int] = []
    as_of = 0
    for _ in range(_MOST_PAGES):
        page = await _page(client, url)
        if page is None or not page[0]:
            return None
        ids += page[0]
        as_of = as_of or int(parse_qs(urlsplit(page[2]).query)["as_of"][0])
        if not page[1]:
            return Read(submission, 1, as_of, ids, whole=True)
        url = page[1]
    return Read(submission, 1, as_of, ids, whole=False)


async def _page(client: aiohttp.ClientSession, url: str) -> tuple[list[int], str, str] | None:
    """The ids of a page and the addresses of the next and of itself."""
    for _ in range(10):
        try:
            async with client.get(url) as answer:
                if answer.status == 200:
                    events = json.loads(await answer.read())["quiz_submission_events"]
                    links = {name: str(link["url"]) for name, link in answer.links.items()}
                    return [int(event["id"]) for event in events], links.get("next", ""), links.get("current", "")
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        await asyncio.sleep(0.2)
    return None
