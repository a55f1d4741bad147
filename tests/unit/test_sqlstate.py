import pytest

from quizstream.worker.sqlstate import Verdict, may_be_a_value, verdict


@pytest.mark.parametrize(
    ("sqlstate", "constraint", "expected"),
    [
        ("22P02", None, "refused"),
        ("22021", None, "refused"),
        ("23502", None, "refused"),
        ("23514", "quiz_submission_events_type_length", "refused"),
        ("23514", None, "month_missing"),
        ("54000", None, "refused"),
        ("54001", None, "refused"),
        ("23505", "quiz_submission_events_pkey", "duplicate"),
        ("40001", None, "again"),
        ("40P01", None, "again"),
        ("55P03", None, "again"),
        ("57014", None, "again"),
        ("53100", None, "outage"),
        ("57P01", None, "outage"),
        ("25006", None, "outage"),
        ("42P01", None, "outage"),
        ("XX000", None, "outage"),
        (None, None, "outage"),
    ],
)
def test_sqlstate_decides(sqlstate: str | None, constraint: str | None, expected: Verdict) -> None:
    assert verdict(sqlstate, constraint) == expected


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("XX000", True),
        ("P0001", True),
        ("40P01", False),
        ("42P01", False),
        ("53100", False),
        ("25006", False),
        ("57P01", False),
    ],
)
def test_what_no_value_can_cause_never_empties_a_batch_into_quarantine(sqlstate: str, *, expected: bool) -> None:
    assert may_be_a_value(sqlstate) is expected
