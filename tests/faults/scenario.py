"""One scenario: a deployment under load, what is done to it, and the verdict at the end."""

import asyncio
import os
import random
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import psutil
from tests.databases import unique, url_of
from tests.faults.ledger import Ledger
from tests.faults.load import Door, Habits, Student
from tests.faults.observe import log_ends, positions, seen
from tests.faults.services import Deployment, Service, deployed
from tests.faults.stage import Stage
from tests.faults.verdict import Read, Verdict, judge
from tests.faults.watch import Watch
from tests.waiting import eventually

_SHOWN_DIFFERENCES = 12
_HABITS = Habits()


class Broken(AssertionError):  # noqa: N818  a finding, not an error of the test
    """The promises were not kept; the message holds seed, schedule and differences."""


@dataclass(frozen=True)
class Figures:
    """What a scenario measured; `settled` is how many events left quarantine."""

    events: int
    faults: int
    verdict: Verdict
    first_row_seconds: float
    worst_answer_seconds: float
    peak_bytes: Mapping[str, int]
    seconds: float
    kills: int = 0
    invariants: str = ""
    remarks: Sequence[str] = ()
    settled: int = 0


def chosen_seed() -> int:
    """QUIZSTREAM_FAULTS_SEED, or a new one."""
    return int(os.environ.get("QUIZSTREAM_FAULTS_SEED") or secrets.randbelow(1_000_000))


@dataclass(repr=False)
class Scenario:
    """The handles of a running scenario."""

    deployment: Deployment
    watch: Watch
    client: aiohttp.ClientSession
    seed: int
    began: float
    ledger: Ledger = field(default_factory=Ledger)
    schedule: list[str] = field(default_factory=list)
    faults: int = 0
    first_row_seconds: float = 0.0
    figures: Figures | None = None
    differences: list[str] = field(default_factory=list)
    other_events: int = 0  # acknowledged, and not in the ledger
    reads: list[Read] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # for people who watch the run
    extra_differences: list[str] = field(default_factory=list)  # what a scenario has found by itself
    _students: list[Student] = field(default_factory=list)
    _posting: "list[asyncio.Task[None]]" = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self._load_client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    def did(self, what: str) -> None:
        """Note a fault in the schedule."""
        self.faults += 1
        self.watch.fault_began()
        self.note(what)

    def found(self, difference: str) -> None:
        """Note a broken promise that neither watch nor verdict can see."""
        self.extra_differences.append(difference)

    def note(self, what: str) -> None:
        """Note something in the schedule that is no fault."""
        self.schedule.append(f"{time.monotonic() - self.began:7.2f} s, {self.ledger.acked_events:6} acked: {what}")

    async def start(self, *, workers: bool = True) -> None:
        """Start gateway, reader and, unless told otherwise, the workers. Whoever needs them ready waits for a sign."""
        services = [one for one in self.deployment.services if workers or one.name != "worker"]
        await asyncio.gather(*(service.spawn() for service in services))

    def begin_load(self, habits: Habits = _HABITS, doors: Sequence[Door] = ()) -> None:
        """Let so many more students begin; they post to the gateways, or to other doors."""
        for _ in range(habits.students):
            student = self.enrol(habits, doors)
            self._posting.append(asyncio.create_task(student.take_quiz(self._stopping)))

    def enrol(self, habits: Habits = _HABITS, doors: Sequence[Door] = ()) -> Student:
        """One more student, who posts what the scenario says."""
        submission = len(self._students) + 1
        chance = random.Random(f"{self.seed}-{submission}")
        student = Student(submission, habits, self.ledger, self._load_client, doors or self.deployment.gateways, chance)
        self._students.append(student)
        return student

    async def acked(self, more: int) -> None:
        """Wait until so many more events are acknowledged; the load must last that long."""
        wanted = self.ledger.acked_events + more

        async def there() -> bool:
            if all(task.done() for task in self._posting):
                await self._raise_what_went_wrong()
                raise RuntimeError("the load has ended before the scenario: more events_each")
            return self.ledger.acked_events >= wanted

        await eventually(there, 60)

    async def outage_answered(self) -> None:
        """Wait until a request was answered 503, within its 5 s, and no more are answered 204."""
        first = len(self.ledger.requests)

        async def refused() -> bool:
            assert any(request.status == 503 for request in self.ledger.requests[first:]), "no 503 in the outage"
            return True

        await eventually(refused, 15)
        self.note("answered 503")

    async def waiting(self, requests: int) -> None:
        """Wait until so many new requests are on their way, and none of them answered."""
        first = len(self.ledger.requests)

        async def so() -> bool:
            return sum(request.status is None for request in self.ledger.requests[first:]) >= requests

        await eventually(so)

    async def answered(self, status: int, code: str) -> None:
        """Wait until a new request is answered like that."""
        first = len(self.ledger.requests)

        async def so() -> bool:
            found = {(request.status, request.code) for request in self.ledger.requests[first:]}
            assert (status, code) in found, f"no {status} {code} among {found}"
            return True

        await eventually(so, 15)

    async def taken_from(self, submissions: Collection[int], seconds: float) -> None:
        """Wait until new events of each of these are acknowledged."""
        first = len(self.ledger.requests)

        async def so() -> bool:
            new = [request for request in self.ledger.requests[first:] if request.outcome == "acked"]
            return set(submissions) <= {element.content.submission for request in new for element in request.elements}

        await eventually(so, seconds)

    async def healed(self, seconds: float = 10.0, *, everywhere: bool = False) -> None:
        """From now on the store has to move on within 10 seconds, or each partition of it."""
        took = await (self.watch.new_rows_everywhere if everywhere else self.watch.first_new_row)(seconds)
        self.note(f"first row after {took:.2f} s")
        self.first_row_seconds = max(self.first_row_seconds, took)

    async def red(self, **hops: str) -> None:
        """Wait until exactly these processes are red, each for that hop (`worker_1="kafka"`), and no others."""
        await self.watch.red({label.replace("_", "-"): {hop} for label, hop in hops.items()})
        self.note(f"red: {hops}")

    async def until_stopped(self, service: Service) -> None:
        """Wait until a process has stopped itself at its crash point."""

        async def stopped() -> bool:
            return psutil.Process(service.pid).status() == psutil.STATUS_STOPPED

        await eventually(stopped, 30)
        service.paused = True

    async def until_posted(self, *, early: bool = True) -> None:
        """Let the students come to their end, an early one or that of their habits; everything is acknowledged then."""
        if early:
            self._stopping.set()
        await asyncio.gather(*self._posting)
        self._stopping.clear()  # others may begin

    async def caught_up(self, seconds: float = 60) -> None:
        """Wait until the lag is 0."""
        ends = await log_ends(self.deployment)

        async def lag() -> bool:
            session = await asyncpg.connect(self.deployment.database_url, timeout=5)
            try:
                stored = await positions(session)
            finally:
                await session.close()
            behind = {key: (stored.get(key), end) for key, end in ends.items() if stored.get(key) != end}
            assert not behind, f"the store is behind the log: {behind}"
            return True

        await eventually(lag, seconds)

    async def until_stored(self, ends: Mapping[tuple[str, int], int], seconds: float) -> None:
        """Wait until the store has what the log had when it ended there."""

        async def so() -> bool:
            return self.watch.has_stored(ends)

        await eventually(so, seconds)

    async def finish(self) -> Figures:
        """End the load, wait for lag 0, and hold everything against the ledger.

        Raises:
            Broken: with everything that is wrong.

        """
        await self.until_posted()
        await self.caught_up()
        if not self.deployment.reader.is_running:
            await self.deployment.reader.spawn()
        await self.watch.green()
        found = await seen(self.deployment, self.client, self.reads)
        verdict = judge(self.ledger, found)
        await self.stop_load()
        await self.watch.descriptors_back()
        late = [difference for student in self._students for difference in student.differences]
        self.differences = [*verdict.differences, *self.watch.differences, *late, *self.extra_differences]
        self.figures = Figures(
            self.ledger.acked_events + self.other_events,
            self.faults,
            verdict,
            self.first_row_seconds,
            max((student.worst_answer_seconds for student in self._students), default=0.0),
            dict(self.watch.peak_bytes),
            time.monotonic() - self.began,
            sum(service.kills for service in self.deployment.services) + self.watch.engine_ends,
            self._invariants(),
            self.remarks,
            len(found.settled),
        )
        if self.differences:
            raise Broken(self.tell())
        if os.environ.get("QUIZSTREAM_FAULTS_TELL"):
            print("\n".join(self.schedule))  # noqa: T201
        return self.figures

    def _invariants(self) -> str:
        """The numbers of those that were looked at; all are, unless nothing had to heal."""
        return "1-9" if self.first_row_seconds else "1-7, 9"

    async def stop_load(self) -> None:
        """Stop the students where they are, and close their connections."""
        for task in self._posting:
            task.cancel()
        await asyncio.gather(*self._posting, return_exceptions=True)
        await self._load_client.close()

    def tell(self) -> str:
        """What one needs to find out why."""
        differences = self.differences or self.watch.differences
        lines = [f"seed {self.seed} (QUIZSTREAM_FAULTS_SEED)", "schedule:", *self.schedule]
        kinds = Counter(difference.partition(":")[0] for difference in differences)
        lines += [f"{len(differences)} differences: {dict(kinds)}", *differences[:_SHOWN_DIFFERENCES]]
        return "\n".join(lines)

    async def _raise_what_went_wrong(self) -> None:
        await asyncio.gather(*self._posting)


@asynccontextmanager
async def played(
    stage: Stage, logs: Path, settings: Mapping[str, str] | None = None, *, seed: int | None = None
) -> AsyncIterator[Scenario]:
    """A scenario with a topic and a database of its own; what fails in it tells seed and schedule."""
    await stage.heal()
    topic = unique("faults")
    database = topic.replace("-", "_")
    seed = chosen_seed() if seed is None else seed
    await execute(stage, f"CREATE DATABASE {database}")
    try:
        deployment = Deployment(stage, topic, database, logs, settings or {})
        async with (
            deployed(deployment),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
            Watch(deployment, client).going_on() as watch,
        ):
            scenario = Scenario(deployment, watch, client, seed, time.monotonic())
            try:
                yield scenario
            finally:
                await scenario.stop_load()
                await stage.heal()
    finally:
        await execute(stage, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        shutil.rmtree(logs / "dumps", ignore_errors=True)


async def execute(stage: Stage, statement: str) -> None:
    """Run a statement on the server of a stage."""
    session = await asyncpg.connect(url_of(stage.postgres.address, "postgres"))
    try:
        await session.execute(statement)
    finally:
        await session.close()
