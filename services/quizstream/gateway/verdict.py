"""What is answered when elements of a request cannot be stored."""

import re
from typing import Final

from quizstream.contracts.errors import ErrorItem, UnusableEvents
from quizstream.gateway.elements import REASONS
from quizstream.gateway.submission import Submission

STRICT: Final = "handling=strict"

_PREFERENCE: Final = re.compile(r"""[ \t]*([^\s=;,"]+)(?:[ \t]*=[ \t]*"?([^\s;,"]*)"?)?[ \t]*(?:;.*)?""", re.DOTALL)


def prefers_strict(values: list[str]) -> bool:
    """Tell whether `Prefer` headers (RFC 7240) ask for strict handling; of a repeated preference the first counts."""
    for preference in ",".join(values).split(","):
        found = _PREFERENCE.fullmatch(preference)
        if found and found[1].lower() == "handling":
            return (found[2] or "").lower() == "strict"
    return False


def refuse_unusable(submission: Submission, *, strict: bool, from_browser: bool) -> None:
    """Refuse a request that shall not be stored in part, or that has nothing to store.

    A page is not told that nothing was usable: it would send the same for ever, and with it all that comes later.

    Raises:
        UnusableEvents: naming the first unusable elements.

    """
    if not submission.unusable:
        return
    if not strict and (submission.events or from_browser):
        return
    items = [ErrorItem(REASONS[element.reason], element.reason, element.index) for element in submission.unusable]
    headers = {"Preference-Applied": STRICT} if strict else None
    raise UnusableEvents(items, len(items), headers=headers)
