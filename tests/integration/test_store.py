import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.factories import NOW, TOPIC, part, stored_event

from quizstream.contracts.records import StoredEvent
from quizstream.worker.batch import PartitionBatch, TopicPartition
from quizstream.worker.store import APPLICATION_NAME, Store, Written

PARTITIONS = 4
FAR_AHEAD = NOW + timedelta(days=365)


@pytest.fixture
async def session(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


@asynccontextmanager
async def opened(database_url: str, holder_patience_seconds: float = 3) -> AsyncIterator[Store]:
    store = Store(database_url, holder_patience_seconds=holder_patience_seconds)
    await store.positions({TopicPartition(TOPIC, number): 0 for number in range(PARTITIONS)})
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with opened(database_url) as made:
        yield made


async def rows_of(session: "asyncpg.Connection[asyncpg.Record]") -> list[asyncpg.Record]:
    return await session.fetch("SELECT * FROM quiz_submission_events ORDER BY id")


async def offset_of(session: "asyncpg.Connection[asyncpg.Record]", partition: int = 0) -> int:
    found: int = await session.fetchval(
        "SELECT next_offset FROM topic_offsets WHERE topic = $1 AND partition = $2", TOPIC, partition
    )
    return found


async def test_rows_ids_attempts_and_offset_are_written_together(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    events = [stored_event(event_type="a"), stored_event(event_type="b", attempt=2), stored_event(event_type="c")]
    written = await store.write([part(events, partition=3)])
    assert written.stored == 3
    assert [(row["id"], row["event_type"], row["attempt"]) for row in await rows_of(session)] == [
        (0 * 4096 + 3, "a", 1),
        (1 * 4096 + 3, "b", 2),
        (2 * 4096 + 3, "c", 2),
    ]
    assert await offset_of(session, 3) == 3
    assert await session.fetchval("SELECT latest_attempt FROM submissions WHERE submission_id = 7") == 2


async def test_a_later_event_with_a_lower_attempt_never_lowers_the_latest(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await store.write([part([stored_event(attempt=3)])])
    await store.write([part([stored_event(attempt=1), stored_event()], first_offset=1)])
    assert [row["attempt"] for row in await rows_of(session)] == [3, 1, 3]
    assert await session.fetchval("SELECT latest_attempt FROM submissions") == 3


async def test_a_failure_in_the_transaction_leaves_neither_rows_nor_offset(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await store.write([part([stored_event(), stored_event(event_data=b"{broken")])])
    assert await rows_of(session) == []
    assert await offset_of(session) == 0


async def test_a_batch_that_does_not_begin_at_the_stored_offset_is_left_out(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await store.write([part([stored_event(), stored_event()])])
    again = await store.write([part([stored_event()]), part([stored_event(submission_id=8)], partition=1)])
    assert again.left_out == {TopicPartition(TOPIC, 0): 2}
    assert again.next_offsets == {TopicPartition(TOPIC, 1): 1}
    assert len(await rows_of(session)) == 3


@pytest.mark.parametrize("fresh_store", [False, True], ids=["remembered", "read from the table"])
async def test_an_event_sent_again_is_stored_once(
    database_url: str, store: Store, session: "asyncpg.Connection[asyncpg.Record]", *, fresh_store: bool
) -> None:
    events = [stored_event(), stored_event(), stored_event()]
    await store.write([part(events[:2])])
    async with opened(database_url) as other:
        written = await (other if fresh_store else store).write([part(events, first_offset=2)])
    assert (written.stored, written.repeated) == (1, 2)
    assert len(await rows_of(session)) == 3
    assert await offset_of(session) == 5


async def test_equal_events_of_one_flush_are_stored_once(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    event = stored_event()
    written = await store.write([part([event, event])])
    assert (written.stored, written.repeated) == (1, 1)
    assert len(await rows_of(session)) == 1


async def test_an_event_sent_again_after_the_attempt_changed_stays_where_it_was_first_filed(
    database_url: str, store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    event_id = str(uuid.uuid4())
    await store.write([part([stored_event(event_id=event_id, attempt=1)])])
    async with opened(database_url) as other:
        await other.write([part([stored_event(event_id=event_id, attempt=2), stored_event()], first_offset=1)])
    assert [row["attempt"] for row in await rows_of(session)] == [1, 2]


async def test_a_stamp_a_year_ahead_is_recognised_within_one_flush(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    event_id = str(uuid.uuid4())
    deliveries = [
        stored_event(event_id=event_id, client_timestamp=FAR_AHEAD.isoformat(), occurred_at=at, received_at=at)
        for at in (NOW, NOW + timedelta(seconds=15))
    ]
    await store.write([part(deliveries)])
    assert len(await rows_of(session)) == 1


@pytest.mark.parametrize("fresh_store", [False, True], ids=["remembered", "read from the table"])
async def test_a_stamp_a_year_ahead_is_recognised_although_it_is_filed_by_its_receipt(
    database_url: str, store: Store, session: "asyncpg.Connection[asyncpg.Record]", *, fresh_store: bool
) -> None:
    event_id = str(uuid.uuid4())
    first, second = (
        stored_event(event_id=event_id, client_timestamp=FAR_AHEAD.isoformat(), occurred_at=at, received_at=at)
        for at in (NOW, NOW + timedelta(seconds=15))
    )
    await store.write([part([first])])
    async with opened(database_url) as other:
        await (other if fresh_store else store).write([part([second], first_offset=1)])
    assert len(await rows_of(session)) == 1


async def test_a_stamp_that_becomes_credible_between_two_deliveries_is_recognised(
    database_url: str, store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    event_id = str(uuid.uuid4())
    stamp = NOW + timedelta(days=31, seconds=5)
    sent = stamp.isoformat()
    await store.write([part([stored_event(event_id=event_id, client_timestamp=sent, received_at=NOW)])])
    later = NOW + timedelta(seconds=15)
    again = stored_event(event_id=event_id, client_timestamp=sent, occurred_at=stamp, received_at=later)
    async with opened(database_url) as other:
        await other.write([part([again], first_offset=1)])
    assert len(await rows_of(session)) == 1


async def test_a_refused_value_is_quarantined_and_its_neighbours_are_stored(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    good = [stored_event() for _ in range(20)]
    bad = [stored_event(event_data=b"{broken"), stored_event(event_type="nul \0"), stored_event(event_data=b'"\x01"')]
    events = [*good[:1], bad[0], *good[1:10], bad[1], *good[10:], bad[2]]
    written = await store.write([part(events)], isolate=True)
    assert written.stored == 20
    quarantined = await session.fetch("SELECT * FROM quarantined_events ORDER BY record_offset")
    assert [str(row["quarantine_id"]) for row in quarantined] == [event.event_id for event in bad]
    assert [row["sqlstate"] for row in quarantined] == ["22P02", "22021", "22P02"]
    assert await offset_of(session) == len(events)


async def test_a_refused_value_that_is_sent_again_is_quarantined_once(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    bad = stored_event(event_data=b"{broken")
    await store.write([part([bad])], isolate=True)
    await store.write([part([bad], first_offset=1)], isolate=True)
    assert await session.fetchval("SELECT count(*) FROM quarantined_events") == 1


async def test_an_event_that_was_refused_is_not_taken_for_one_that_is_stored(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    event_id = str(uuid.uuid4())
    await store.write([part([stored_event(event_id=event_id, event_data=b"{broken")])], isolate=True)
    await store.write([part([stored_event(event_id=event_id)], first_offset=1)])
    assert len(await rows_of(session)) == 1


async def test_a_month_without_partition_is_reported_as_such_and_isolated_as_refused(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    nowhere = stored_event(occurred_at=datetime(9999, 1, 1, tzinfo=UTC))
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await store.write([part([stored_event(), nowhere])])
    assert raised.value.constraint_name is None
    written = await store.write([part([stored_event(), nowhere])], isolate=True)
    assert (written.stored, len(written.quarantined)) == (1, 1)
    assert len(await rows_of(session)) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
        | st.sampled_from(
            ["\\.", "\n\\.\n", "\x01", "\x02", "\x01\x01", '"', "\r\n", "\\N", "\x01\x02\n", "\\", "\x1b"]
        ),
        min_size=1,
        max_size=20,
    )
)
async def test_any_text_in_type_stamp_and_actor_makes_one_equal_row(database_url: str, texts: list[str]) -> None:
    events = [stored_event(event_type=text, client_timestamp=text, actor=text) for text in texts]
    await stored_equal(database_url, events)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_json_text_is_stored_as_it_was_sent(database_url: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(JSON, min_size=1, max_size=10))
    indent, ascii_only = data.draw(st.sampled_from([None, 1])), data.draw(st.booleans())
    texts = [json.dumps(value, indent=indent, ensure_ascii=ascii_only) for value in values]
    texts = [text for text in texts if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)]
    odd = ["1e400", "123456789012345678901234567890", r'"\u0000"', r'"\ud800"', '{"a":1,"a":2}', " [ ]\n", "\ttrue"]
    await stored_equal(database_url, [stored_event(event_data=text.encode()) for text in (*texts, *odd)])


async def stored_equal(database_url: str, events: Sequence[StoredEvent]) -> None:
    async with opened(database_url) as store:
        positions = await store.positions({TopicPartition(TOPIC, 0): 0})
        begin = positions[TopicPartition(TOPIC, 0)].next_offset
        await store.write([part(events, first_offset=begin)])
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("SELECT * FROM quiz_submission_events WHERE id >= $1 ORDER BY id", begin * 4096)
        await connection.close()
    assert [(row["event_type"], row["client_timestamp"], row["actor"], row["event_data"]) for row in rows] == [
        (event.event_type, event.client_timestamp, event.actor, event.event_data.decode()) for event in events
    ]


async def test_a_holder_stopped_inside_copy_is_disconnected_and_its_rows_vanish(database_url: str) -> None:
    entered = asyncio.Event()

    async def stopped_source() -> AsyncIterator[bytes]:
        yield b""
        entered.set()
        await asyncio.Event().wait()

    zombie = await asyncpg.connect(database_url, server_settings={"application_name": APPLICATION_NAME})

    async def stop_inside_copy() -> None:
        async with zombie.transaction():
            await zombie.execute("SELECT FROM topic_offsets FOR UPDATE")
            await zombie.copy_to_table("quiz_submission_events", source=stopped_source())

    async with opened(database_url, holder_patience_seconds=0.3) as successor:
        stuck = asyncio.create_task(stop_inside_copy())
        await entered.wait()
        written = await asyncio.wait_for(successor.write([part([stored_event()])]), 10)
    assert written.stored == 1
    stuck.cancel()
    await asyncio.wait({stuck})
    zombie.terminate()


async def test_two_workers_that_write_the_same_records_store_them_once(
    database_url: str, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    batch: list[PartitionBatch] = [part([stored_event() for _ in range(500)], partition=number) for number in range(4)]
    async with opened(database_url) as first, opened(database_url) as second:
        results: tuple[Written, Written] = await asyncio.gather(first.write(batch), second.write(batch))
    assert sorted(result.stored for result in results) == [0, 2000]
    assert len(await rows_of(session)) == 2000


async def test_after_a_commit_of_unknown_outcome_the_same_batch_changes_nothing(
    store: Store, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    batch = [part([stored_event() for _ in range(10)])]
    await store.write(batch)  # the answer to this commit may have been lost on the way
    await store.close()
    again = await store.write(batch)
    assert again.left_out == {TopicPartition(TOPIC, 0): 10}
    assert len(await rows_of(session)) == 10


async def test_a_connection_that_could_not_be_made_ready_is_not_kept(
    database_url: str, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Without its temporary table it would fail at the first repetition, and ever after."""
    event = stored_event()
    async with opened(database_url) as before:
        await before.write([part([event])])
    store = Store(database_url)
    await session.execute("ALTER TABLE quiz_submission_events RENAME TO elsewhere")
    with pytest.raises(asyncpg.UndefinedTableError):
        await store.ping()
    await session.execute("ALTER TABLE elsewhere RENAME TO quiz_submission_events")
    try:
        written = await store.write([part([event], first_offset=1)])
    finally:
        await store.close()
    assert (written.stored, written.repeated, written.merged) == (0, 1, True)


async def test_a_column_that_a_later_version_has_added_gets_its_default_on_both_ways(
    database_url: str, session: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await session.execute("ALTER TABLE quiz_submission_events ADD COLUMN campus text NOT NULL DEFAULT 'main'")
    first, second = stored_event(), stored_event()
    async with opened(database_url) as straight:
        await straight.write([part([first])])
    async with opened(database_url) as merging:
        written = await merging.write([part([first, second], first_offset=1)])
    assert (written.stored, written.merged) == (1, True)
    assert [row["campus"] for row in await rows_of(session)] == ["main", "main"]
