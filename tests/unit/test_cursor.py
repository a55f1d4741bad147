import pytest
from tests.factories import FakeRecord

from quizstream.worker.batch import TopicPartition
from quizstream.worker.cursor import Cursor, TopicMadeAnew

HERE = TopicPartition("events", 3)


def test_records_that_are_stored_already_are_passed_over() -> None:
    cursor = Cursor(HERE, 5)
    assert [record.offset for record in cursor.admit([FakeRecord(3), FakeRecord(4), FakeRecord(5)])] == [5]
    assert cursor.expected == 6


def test_a_gap_in_what_comes_is_not_written_over() -> None:
    cursor = Cursor(HERE, 5)
    assert len(cursor.admit([FakeRecord(5)])) == 1
    assert list(cursor.admit([FakeRecord(7)])) == []
    assert cursor.expected == 6


def test_what_comes_before_a_gap_is_taken() -> None:
    cursor = Cursor(HERE, 5)
    records = [FakeRecord(offset) for offset in (4, 5, 6, 8, 9)]
    assert [record.offset for record in cursor.admit(records)] == [5, 6]
    assert cursor.expected == 7


def test_a_gap_right_after_seeking_is_the_logs_own() -> None:
    cursor = Cursor(HERE, 5)
    assert [record.offset for record in cursor.admit([FakeRecord(8)])] == [8]


def test_another_record_before_the_stored_offset_means_another_topic() -> None:
    cursor = Cursor(HERE, 5, appended_at_ms=1_700_000_000_000)
    assert cursor.read_from == 4
    with pytest.raises(TopicMadeAnew, match="adopt-topic"):
        list(cursor.admit([FakeRecord(4, timestamp=1_700_000_000_001)]))


def test_the_record_before_the_stored_offset_is_checked_and_not_written_again() -> None:
    cursor = Cursor(HERE, 5, appended_at_ms=1_700_000_000_000)
    assert [record.offset for record in cursor.admit([FakeRecord(4), FakeRecord(5)])] == [5]
