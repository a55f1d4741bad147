"""Why something is in quarantine: the closed list of reasons that this version gives."""

from typing import Final

REASONS: Final = frozenset(
    {
        # elements of requests, refused by the gateway
        "element_not_object",
        "event_type_missing",
        "event_type_invalid",
        "event_type_empty",
        "event_type_too_long",
        "event_type_unstorable",
        # records, refused by the worker
        "record_empty",
        "record_malformed",
        "record_type_unknown",
        "record_key_mismatch",
        "event_data_too_deep",
        # rows, refused by the database
        "database_refused",
    }
)


def reason_label(reason: str) -> str:
    """Give a reason as a metric's label: one of the list, or `other` for what other producers may write."""
    return reason if reason in REASONS else "other"
