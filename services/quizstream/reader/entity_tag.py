"""The validator of a page (RFC 9110, section 8.8.3), known before the page is read."""

from hashlib import blake2b
from typing import Final

from quizstream.reader.select import PagePlan, Selection

# Raised when the same events come to be written differently.
_RENDERING: Final = b"1"


def entity_tag(selection: Selection, plan: PagePlan) -> str:
    """Give the weak tag of a page, without quotation marks: equal only for the same page of the same events.

    Events never change, and those of a log get ascending ids: the number and the largest id tell which there are.
    """
    named = (
        *selection.resource,
        plan.attempt,
        plan.last_id,
        plan.events_in_log,
        selection.page,
        selection.per_page,
        *sorted(selection.included),
    )
    return blake2b(repr(named).encode(), digest_size=16, key=_RENDERING).hexdigest()
