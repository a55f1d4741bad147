"""Contenders get the work that they are said to get."""

import os
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from tests.benchmarks import large, storage
from tests.benchmarks.bursts import bursts, records
from tests.benchmarks.measurement import UNDER_TEST
from tests.benchmarks.rows import COLUMNS, DELIMITER, QUOTE, line_of, row_id
from tests.benchmarks.writing import measured
from tests.factories import FakeRecord

from quizstream.worker.batch import TopicPartition
from quizstream.worker.copy_rows import COLUMNS as WRITTEN
from quizstream.worker.copy_rows import EventRow, encode_row
from quizstream.worker.decode import decode
from quizstream.worker.event import Event

BEGIN = datetime(2026, 11, 21, 9, tzinfo=UTC)


def ids_of(redelivered: float, submissions: int = 40) -> Counter[bytes]:
    sent = islice(bursts(submissions, BEGIN, redelivered), 4_000)
    return Counter(dict(record.headers)["ce_id"] for burst in sent for record in records(burst))


def test_no_event_comes_twice_unless_it_is_delivered_again() -> None:
    assert set(ids_of(0.0).values()) == {1}


def test_the_share_of_redeliveries_is_the_one_asked_for() -> None:
    for share in (0.01, 0.5):
        counted = ids_of(share)
        assert abs(1 - len(counted) / counted.total() - share) < share / 4


def test_the_same_bursts_come_each_time() -> None:
    first, second = (list(islice(bursts(100, BEGIN, 0.5), 500)) for _ in range(2))
    assert first == second


def test_a_baseline_copies_the_row_that_the_worker_would_write() -> None:
    for burst in islice(bursts(100, BEGIN), 50):
        for record in records(burst):
            received = FakeRecord(3, 0, record.key, record.value, headers=record.headers)
            entry = decode(received, quarantine_topic="q")
            assert isinstance(entry.content, Event)
            row = EventRow(row_id(5, 3), 1, entry.content, TopicPartition("t", 5), entry)
            assert columns_of(line_of(record, row_id(5, 3)), COLUMNS) == columns_of(encode_row(row), WRITTEN)


def columns_of(line: bytes, names: Sequence[str]) -> dict[str, str]:
    values = line.decode().rstrip("\n").replace(QUOTE, "").split(DELIMITER)
    return dict(zip(names, values, strict=True))


def test_every_size_of_attempt_has_the_same_share_of_a_store() -> None:
    attempts = storage.layout(5_000_000)
    by_size = Counter(attempt.events for attempt in attempts)
    assert 0.99 * 5_000_000 < sum(attempt.events for attempt in attempts) <= 5_000_000
    assert by_size[storage.LONGEST_ATTEMPT_EVENTS] == 1
    assert all(1_215_000 < events * by_size[events] <= 1_225_000 for events in storage.ATTEMPT_EVENTS)


def test_rows_of_a_request_are_neighbours_and_those_of_an_attempt_are_not() -> None:
    lines = b"".join(storage.parts(storage.layout(200_000))).splitlines()
    fields = [line.split(b"\x02") for line in lines]
    submissions = [line[1] for line in fields]
    requests = [submissions[start : start + storage.BURST_EVENTS] for start in range(0, len(lines), 5)]
    assert all(len(set(request)) == 1 for request in requests)
    assert sum(one[0] == other[0] for one, other in pairwise(requests)) < len(requests) / 10
    assert len({(line[1], line[8], line[5]) for line in fields}) == len(lines)


def test_the_large_run_begins_only_with_room_and_consent() -> None:
    need = large.need_of(50_000_000)
    assert "34 GB" in str(need)
    assert large.refusal(50_000_000, need.disk_bytes - 1, agreed=True).startswith("There are only 34 GB")
    assert large.refusal(50_000_000, need.disk_bytes, agreed=False) == "Say YES=1 to begin."
    assert large.refusal(50_000_000, need.disk_bytes, agreed=True) == ""
    assert large.refusal(500_000, need.disk_bytes, agreed=True)


async def progress(*done: int) -> AsyncGenerator[int, None]:
    for one in done:
        yield one


async def test_what_was_done_before_the_first_look_is_not_counted() -> None:
    watched = {UNDER_TEST: [os.getpid()]}
    assert (await measured(progress(5, 20, 30, 40), 30, watched)).work == 25
    assert (await measured(progress(5, 20, 30, 40), 30, watched, after=10)).work == 10


async def test_a_writer_that_ends_early_is_no_measurement() -> None:
    with pytest.raises(RuntimeError):
        await measured(progress(5, 20), 30, {UNDER_TEST: [os.getpid()]})
