"""The worker, put together."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Final

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from quizstream.contracts.metrics import BUILD_INFO, HOP_UP, PROCESS_METRICS, WORKER_METRICS
from quizstream.contracts.topics import quarantine_topic
from quizstream.runtime.admin import serving_admin
from quizstream.runtime.health import Health, Probe
from quizstream.runtime.kafka_access import kafka_access
from quizstream.runtime.lifecycle import Lifetime, StartRefused, calm_garbage_collector
from quizstream.runtime.postgres import UNREACHABLE, connection, refusal
from quizstream.runtime.telemetry import Meters
from quizstream.worker.backlog import Backlog
from quizstream.worker.batch import TopicPartition
from quizstream.worker.canary_rows import remove_canaries
from quizstream.worker.cursor import TopicMadeAnew
from quizstream.worker.flush import LONGEST_PAUSE_SECONDS, Flusher, make_missing_months, pause
from quizstream.worker.log import Log, open_log
from quizstream.worker.loop import Bounds, Loop
from quizstream.worker.months import last_month, make_months, months_ahead
from quizstream.worker.observe import Observer
from quizstream.worker.retention import remove_expired
from quizstream.worker.settings import WorkerSettings
from quizstream.worker.store import Store
from quizstream.worker.watch import Watch, is_behind

log: Final = structlog.get_logger(__name__)

MONTHS_EVERY_SECONDS: Final = 6 * 3600.0
BACKLOG_EVERY_SECONDS: Final = 5.0
CANARIES_EVERY_SECONDS: Final = 3600.0
PUT_OFF_SECONDS: Final = 600.0  # each try makes readers wait for up to a second
STOP_SECONDS: Final = 10.0


class HopDead(Exception):  # noqa: N818  a situation, which `/readyz` shows
    """What the worker depends on does not do its part."""


@asynccontextmanager
async def running(settings: WorkerSettings, lifetime: Lifetime) -> AsyncIterator[None]:
    """Run the worker's process: the loop and the admin port.

    Raises:
        StartRefused: Kafka or PostgreSQL answers and will not have us. One that is away is waited for.

    """
    await _refuse_unusable(settings)
    meters = Meters((*PROCESS_METRICS, *WORKER_METRICS))
    meters.gauge(BUILD_INFO).labels(version("quizstream"), "worker").set(1)
    async with writing(settings, lifetime, meters) as probes:
        health = Health(probes)
        for probe in probes:
            meters.gauge(HOP_UP).labels(probe.name).set_function(partial(_is_up, health, probe.name))
        async with (
            serving_admin(settings.admin_host, settings.admin_port, health, meters.registry),
            lifetime.side_task("probes", health.watch()),
        ):
            calm_garbage_collector()
            yield
            health.set_draining()


@asynccontextmanager
async def writing(settings: WorkerSettings, lifetime: Lifetime, meters: Meters) -> AsyncIterator[Sequence[Probe]]:
    """Write the topics into the store while the body runs, waiting for both where they are away; gives the checks.

    On the way out the flush under way is finished, if the store takes it.
    """
    assembly = Assembly(settings, Observer(meters))
    try:
        async with (
            lifetime.side_task("months", assembly.keep_months()),
            lifetime.side_task("backlog", assembly.keep_backlog_known()),
            lifetime.side_task("canaries", assembly.keep_few_canaries()),
            lifetime.side_task("loop", assembly.run()),
        ):
            yield assembly.probes()
            await assembly.stop()
    finally:
        await assembly.close()


async def _refuse_unusable(settings: WorkerSettings) -> None:
    if reason := await kafka_access(settings).refusal():
        raise StartRefused(f"Kafka: {reason}")
    for url in filter(None, (settings.database_url, settings.retention_database_url)):
        if reason := await refusal(url.get_secret_value()):
            raise StartRefused(f"PostgreSQL: {reason}")


def _is_up(health: Health, hop: str) -> bool:
    return hop not in health.readiness().failing


class Assembly:
    """The parts of one worker: they are built anew when the consumer has to be."""

    def __init__(self, settings: WorkerSettings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._database_url = settings.database_url.get_secret_value()
        self._access = kafka_access(settings)
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._store = Store(self._database_url, holder_patience_seconds=settings.holder_patience_seconds)
        self._flusher = Flusher(
            self._store, partial(make_missing_months, self._database_url), self._stopping, observer.flush_failed
        )
        self._backlog = Backlog(self._database_url, self._access, settings.consumer_group)
        self._watch = Watch(settings.rejoin_after_seconds)
        self._log: Log | None = None

    def probes(self) -> tuple[Probe, ...]:
        """Give the checks of what the worker depends on."""
        return (
            Probe("kafka", self._check_kafka),
            Probe("postgresql", self._check_postgres),
            Probe("partitions", self._check_partitions),
        )

    async def run(self) -> None:
        """Join the group and work; join again when that fails. Ends only by cancellation.

        Raises:
            StartRefused: the topic is not the one that the store was filled from.

        """
        try:
            while not self._stopping.is_set():
                await self._join()
        finally:
            self._finished.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Let the loop finish what it is doing; after `STOP_SECONDS` it is left to be read again after the start."""
        self._stopping.set()
        try:
            await asyncio.wait_for(self._finished.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("flush_abandoned")

    async def close(self) -> None:
        """Drop the connection to the store."""
        await self._store.close()

    async def keep_months(self) -> None:
        """Have the months ahead made, and what is past its retention removed, now and every few hours."""
        self._observer.kept_up("months")
        if self._settings.retention_months:
            self._observer.kept_up("retention")
        while True:
            try:
                await self._make_months(datetime.now(UTC))
                put_off = await self._remove_expired(datetime.now(UTC))
            except (asyncpg.PostgresError, TimeoutError, *UNREACHABLE) as error:
                log.warning("months_not_kept", error=type(error).__name__)
                await asyncio.sleep(60)
            else:
                await asyncio.sleep(PUT_OFF_SECONDS if put_off else MONTHS_EVERY_SECONDS)

    async def keep_backlog_known(self) -> None:
        """Look every few seconds for what is in the log and not in the store, whatever the loop does meanwhile."""
        while True:
            try:
                found = await self._backlog.find(self._own_partitions(), self._observer.stored_until)
                self._observer.unstored_seen(found)
            except (KafkaError, TimeoutError, *UNREACHABLE) as error:
                log.debug("log_not_asked", error=type(error).__name__)
            await asyncio.sleep(BACKLOG_EVERY_SECONDS)

    def _own_partitions(self) -> Collection[TopicPartition]:
        """Give the partitions to answer for: all, while the group gives us none, as it may give nobody any."""
        settings = self._settings
        topics = (settings.topic, quarantine_topic(settings.topic))
        every = {TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)}
        return (self._log.assigned() if self._log else set()) or every

    async def keep_few_canaries(self) -> None:
        """Have what canaries left removed after a day, also where everything else is kept."""
        self._observer.kept_up("canaries")
        while True:
            try:
                removed = await remove_canaries(self._database_url, datetime.now(UTC))
            except (asyncpg.PostgresError, TimeoutError, *UNREACHABLE) as error:
                log.warning("canaries_not_removed", error=type(error).__name__)
            else:
                self._observer.kept_up("canaries")
                log.debug("canaries_removed", rows=removed)
            await asyncio.sleep(CANARIES_EVERY_SECONDS)

    async def _make_months(self, now: datetime) -> None:
        async with connection(self._database_url, application_name="quizstream-months") as session:
            made = await make_months(session, months_ahead(now))
            self._observer.months_seen(await last_month(session, now))
            self._observer.kept_up("months")
        if made:
            log.info("months_made", partitions=made)

    async def _remove_expired(self, now: datetime) -> bool:
        """Tell whether something was in use and is to be tried again."""
        if not self._settings.retention_months:
            return False
        owner = self._settings.retention_database_url or self._settings.database_url
        removed = await remove_expired(owner.get_secret_value(), now, self._settings.retention_months)
        self._observer.months_dropped(len(removed.months))
        log.info("retention_applied", months_dropped=removed.months, rows_deleted=removed.rows)
        if not removed.put_off:
            self._observer.kept_up("retention")
        return removed.put_off

    async def _join(self) -> None:
        try:
            await self._work()
        except TopicMadeAnew as error:
            raise StartRefused(str(error)) from error
        except KafkaError as error:
            log.warning("kafka_unreachable", error=type(error).__name__)
            await pause(self._stopping, LONGEST_PAUSE_SECONDS)

    async def _work(self) -> None:
        settings = self._settings
        quarantine = quarantine_topic(settings.topic)
        async with open_log(
            self._access,
            (settings.topic, quarantine),
            group=settings.consumer_group,
            instance=settings.consumer_instance,
        ) as self._log:
            bounds = Bounds(settings.flush_rows, settings.flush_bytes, settings.flush_after_seconds)
            loop = Loop(
                self._log, self._store, self._flusher, self._observer, bounds=bounds, quarantine_topic=quarantine
            )
            await self._run_watched(self._log, loop)

    async def _run_watched(self, source: Log, loop: Loop) -> None:
        """Run the loop to its end, or until the consumer is found to be stuck."""
        working = asyncio.create_task(loop.run(self._stopping), name="loop")
        watching = asyncio.create_task(
            self._watch.until_stuck(lambda: self._observer.deliveries, partial(self._is_behind, source, loop)),
            name="watch",
        )
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            stuck = working.cancel()
            await asyncio.wait({working, watching})
        if stuck:
            watching.result()
            self._observer.consumer_replaced()
            log.error("consumer_stuck", partitions=len(source.assigned()))
        elif working.cancelled():  # not by us: the client cancels whoever waits for a connection that it gives up
            log.warning("consumer_broken")
        else:
            working.result()

    async def _is_behind(self, source: Log, loop: Loop) -> bool:
        if loop.writing or self._flusher.failing:
            return False
        partitions = source.assigned() - set(self._observer.given_up)
        return await is_behind(self._database_url, self._access, partitions)

    async def _check_kafka(self) -> None:
        if self._log is None:
            raise HopDead
        await self._log.ping()

    async def _check_postgres(self) -> None:
        if self._flusher.failing:
            raise HopDead
        async with connection(self._database_url, application_name="quizstream-probe") as session:
            await session.fetchval("SELECT 1 FROM topic_offsets LIMIT 1")

    async def _check_partitions(self) -> None:
        if self._observer.given_up:
            raise HopDead
