"""The verdict sees what it must see, and nothing else: without processes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.faults.ledger import REPLAYED_AS, Content, Element, Ledger
from tests.faults.verdict import Position, Published, Quarantined, Read, Row, Seen, Shown, judge

TOPIC = "events"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def content(number: int) -> Content:
    return Content(7, "page_blurred", f"2026-11-21T00:00:00.{number:03}Z", f'{{"marker": "7-{number}"}}')


def row(number: int, offset: int) -> Row:
    return Row(offset * 4096, 1, f"id-{number}", NOW, NOW, content(number))


BAD = Content(7, None, None, '{"event_data":1}')
BAD_ROW = Quarantined("bad", "event_type_missing", f"{TOPIC}.quarantine", 0, 0, BAD)


def ledger() -> Ledger:
    made = Ledger()
    made.send([Element(content(0)), Element(content(1)), Element(BAD)], 1).outcome = "acked"
    made.send([Element(content(2))], 1)  # unknown, and then repeated
    made.send([Element(content(2)), Element(content(3))], 1).outcome = "acked"
    made.send([Element(content(4))], 1)  # unknown, never repeated
    return made


def sound() -> Seen:
    rows = [row(number, number) for number in range(4)]
    return Seen(
        TOPIC,
        rows,
        [BAD_ROW],
        [
            *(Published(TOPIC, 0, number, "7", f"id-{number}") for number in range(4)),
            Published(TOPIC, 0, 4, "7", "id-2"),
            Published(f"{TOPIC}.quarantine", 0, 0, "7", "bad"),
        ],
        {(7, 1): [Shown(one.id, "page_blurred", {"marker": f"7-{number}"}) for number, one in enumerate(rows)]},
        {(TOPIC, 0): Position(5, 5)},
    )


def test_what_is_as_promised_is_no_difference() -> None:
    assert judge(ledger(), sound()).differences == []


def without_row(seen: Seen) -> Seen:
    return replace(seen, rows=seen.rows[1:])


def with_row_twice(seen: Seen) -> Seen:
    return replace(seen, rows=[*seen.rows, seen.rows[0]._replace(id=5 * 4096, event_id="other")])


def with_rows_swapped(seen: Seen) -> Seen:
    first, second, *rest = seen.rows
    return replace(seen, rows=[first._replace(id=second.id), second._replace(id=first.id), *rest])


def with_changed_data(seen: Seen) -> Seen:
    changed = seen.rows[0].content._replace(text='{"marker":"7-0"}')
    return replace(seen, rows=[seen.rows[0]._replace(content=changed), *seen.rows[1:]])


def with_other_attempt(seen: Seen) -> Seen:
    return replace(seen, rows=[seen.rows[0]._replace(attempt=2), *seen.rows[1:]])


def without_quarantine(seen: Seen) -> Seen:
    return replace(seen, quarantined=[])


def with_row_in_quarantine_too(seen: Seen) -> Seen:
    both = BAD_ROW._replace(quarantine_id="id-0", reason="database_refused", content=content(0))
    return replace(seen, quarantined=[*seen.quarantined, both])


def without_a_record(seen: Seen) -> Seen:
    return replace(seen, published=seen.published[1:])


def with_another_id(seen: Seen) -> Seen:
    return replace(seen, rows=[*seen.rows[:-1], seen.rows[-1]._replace(id=9 * 4096)])


def without_an_answer(seen: Seen) -> Seen:
    return replace(seen, answers={(7, 1): seen.answers[7, 1][1:]})


def behind_the_log(seen: Seen) -> Seen:
    return replace(seen, positions={(TOPIC, 0): Position(4, 5)})


def with_a_page_twice(seen: Seen) -> Seen:
    ids = [one.id for one in seen.rows[:2]]
    return replace(seen, reads=[Read(7, 1, seen.rows[3].id, [*ids, *ids], whole=False)])


def with_a_page_left_out(seen: Seen) -> Seen:
    return replace(seen, reads=[Read(7, 1, seen.rows[2].id, [seen.rows[0].id, seen.rows[2].id], whole=True)])


def replayed(seen: Seen) -> Seen:
    """What was in quarantine is a row now, under the id that it had there, at the end of the log."""
    found = Content(7, REPLAYED_AS, None, "1")
    record = Published(TOPIC, 0, 5, "7", BAD_ROW.quarantine_id)
    late = Row(5 * 4096, 1, BAD_ROW.quarantine_id, NOW + timedelta(seconds=1), NOW, found)
    return Seen(
        TOPIC,
        [*seen.rows, late],
        [],
        [*seen.published, record],
        {(7, 1): [*seen.answers[7, 1], Shown(late.id, REPLAYED_AS, 1)]},
        {(TOPIC, 0): Position(6, 6)},
        frozenset({BAD_ROW.quarantine_id}),
    )


def settled_and_not_stored(seen: Seen) -> Seen:
    return replace(seen, quarantined=[], settled=frozenset({BAD_ROW.quarantine_id}))


def replayed_and_still_there(seen: Seen) -> Seen:
    return replace(replayed(seen), quarantined=seen.quarantined)


def test_what_was_replayed_is_stored_once_and_needs_no_place_in_the_order() -> None:
    assert judge(ledger(), replayed(sound())).differences == []


def test_pages_that_stopped_before_the_end_are_as_good_as_far_as_they_went() -> None:
    seen = sound()
    ids = [one.id for one in seen.rows]
    reads = [Read(7, 1, ids[2], ids[:3], whole=True), Read(7, 1, ids[3], ids[:2], whole=False)]
    assert judge(ledger(), replace(seen, reads=reads)).differences == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (without_row, "lost"),
        (with_row_twice, "doubled"),
        (with_rows_swapped, "out of order"),
        (with_changed_data, "invented"),
        (with_other_attempt, "misfiled"),
        (without_quarantine, "lost"),
        (with_row_in_quarantine_too, "doubled"),
        (without_a_record, "stored, not published"),
        (with_another_id, "another id than its record"),
        (without_an_answer, "GET differs"),
        (behind_the_log, "at rest"),
        (with_a_page_twice, "misread"),
        (with_a_page_left_out, "misread"),
        (settled_and_not_stored, "lost"),
        (replayed_and_still_there, "doubled"),
    ],
)
def test_every_damage_is_a_difference(damage: Callable[[Seen], Seen], word: str) -> None:
    differences = judge(ledger(), damage(sound())).differences
    assert any(difference.startswith(word) for difference in differences), differences


def test_what_was_stored_before_its_record_was_deleted_is_sound_and_what_was_not_is_lost() -> None:
    shortened = replace(without_a_record(sound()), positions={(TOPIC, 0): Position(5, 5, 1)})
    assert judge(ledger(), shortened).differences == []
    assert judge(ledger(), without_row(shortened)).lost == 1


def test_of_a_submission_that_went_on_in_another_partition_no_order_is_promised() -> None:
    moved = ledger()
    moved.moved.add(7)
    assert judge(moved, with_rows_swapped(sound())).out_of_order == 0


def test_a_sound_request_must_not_be_refused() -> None:
    refused = ledger()
    request = refused.send([Element(content(9))], 1)
    request.outcome, request.status = "refused", 400
    assert judge(refused, sound()).differences == ["refused: 400 for 1 events that are sound"]


def test_equals_of_one_request_are_as_many_rows_and_those_of_several_are_not() -> None:
    made = Ledger()
    equal = Element(content(0), marked=False)
    made.send([equal, equal], None).outcome = "acked"
    made.send([equal], None).outcome = "acked"
    made.send([equal, equal, equal], None)
    assert tuple(made.copies()[equal.content]) == (2, 3)


def test_what_has_no_stamp_is_stored_as_often_as_it_is_taken() -> None:
    made = Ledger()
    stampless = Element(content(0)._replace(client_timestamp=None), marked=False, recognised=False)
    made.send([stampless], None).outcome = "acked"
    made.send([stampless], None).outcome = "acked"
    made.send([stampless], None)
    assert tuple(made.copies()[stampless.content]) == (2, 3)
