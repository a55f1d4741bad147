"""What an error of PostgreSQL means for a flush (PostgreSQL documentation, appendix A)."""

from typing import Final, Literal

Verdict = Literal["refused", "month_missing", "duplicate", "again", "outage"]

_REFUSED_CLASS: Final = "22"  # data exception: the value cannot be stored
_VERDICTS: Final[dict[str, Verdict]] = {
    "23502": "refused",  # not_null_violation
    "54000": "refused",  # program_limit_exceeded
    "54001": "refused",  # statement_too_complex: JSON nested deeper than the server's stack
    "23505": "duplicate",  # unique_violation
    "40001": "again",  # serialization_failure
    "40P01": "again",  # deadlock_detected
    "55P03": "again",  # lock_not_available
    "57014": "again",  # query_canceled: a time-out
}
_CHECK_VIOLATION: Final = "23514"
_NEVER_A_VALUE: Final = frozenset(
    {
        "08",  # connection exception
        "25",  # invalid transaction state: a read-only server
        "28",  # invalid authorization
        "3D",  # the database is gone
        "40",  # transaction rollback: a deadlock with another session
        "42",  # a table is missing, a right is missing
        "53",  # insufficient resources: disk full, too many connections
        "55",  # object not in prerequisite state
        "57",  # operator intervention
        "58",  # system error
    }
)


def verdict(sqlstate: str | None, constraint_name: str | None = None) -> Verdict:
    """Decide what to do about an error.

    `refused`: a value is at fault, so find it and quarantine it. `month_missing`: no partition takes the row (a check
    violation that names no constraint), so make it. `duplicate`: merge. `again`: repeat at once. `outage`: wait;
    everything that is not known otherwise, as a wait loses nothing.
    """
    if sqlstate is None:
        return "outage"
    if sqlstate == _CHECK_VIOLATION:
        return "refused" if constraint_name else "month_missing"
    if sqlstate.startswith(_REFUSED_CLASS):
        return "refused"
    return _VERDICTS.get(sqlstate, "outage")


def may_be_a_value(sqlstate: str | None) -> bool:
    """Tell whether an error that keeps coming back while the server answers can be the fault of a value.

    A missing table or a full disk never is: isolating rows then would put every event into quarantine.
    """
    return sqlstate is not None and sqlstate[:2] not in _NEVER_A_VALUE
