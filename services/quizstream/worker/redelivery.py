"""Recognising events that are stored already, and choosing the cheaper way to store the others."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from quizstream.contracts.records import StoredEvent
from quizstream.worker.copy_rows import EventRow

EventKey = tuple[int, str]

REMEMBERED_IDS: Final = 200_000  # about 40 MB; the last 20 s at 10,000 events a second: browsers repeat after 15
RECENT_FLUSHES: Final = 9
_AHEAD: Final = timedelta(days=1)


def key_of(event: StoredEvent) -> EventKey:
    """Give what makes an event the same: its id, of which its submission is a part."""
    return event.submission_id, event.event_id


def filed_by_receipt(event: StoredEvent) -> bool:
    """Tell whether another delivery of the same content may be filed under another time.

    That is so where the stamp is not credible at receipt, or comes close to that border; then the primary key, of
    which the time is a part, does not see the repetition. Events without a stamp have random ids: no repetition is
    recognised, and none need be looked for.
    """
    if event.client_timestamp is None:
        return False
    if event.occurred_at == event.received_at:
        return True
    if event.occurred_at < event.received_at:  # texts of equal form: they compare as times do
        return False
    return datetime.fromisoformat(event.occurred_at) > datetime.fromisoformat(event.received_at) + _AHEAD


class RecentIds:
    """Ids this worker stored lately; a bounded memory that forgets the oldest.

    Safe, because an id enters only after its transaction is committed, and all are forgotten whenever a stored offset
    is not where it was left: the rows may have gone back with it (a restore).
    """

    def __init__(self, capacity: int = REMEMBERED_IDS) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[EventKey, None] = OrderedDict()

    def __contains__(self, key: EventKey) -> bool:
        return key in self._keys

    def remember(self, keys: Iterable[EventKey]) -> None:
        """Add keys, the newest last."""
        self._keys.update(dict.fromkeys(keys))
        while len(self._keys) > self._capacity:
            self._keys.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._keys.clear()


def without_repetitions(rows: Sequence[EventRow], stored: RecentIds) -> list[EventRow]:
    """Keep the first of equal events, and none that is known to be stored."""
    fresh: dict[EventKey, EventRow] = {}
    for row in rows:
        key = key_of(row.event)
        if key not in stored:
            fresh.setdefault(key, row)
    return list(fresh.values())


class MergeChoice:
    """Straight into the table, or through a temporary one?

    Measured: a straight COPY that meets a duplicate and is repeated through the temporary table costs more than the
    savings of two that meet none. So straight pays while fewer than one flush in three meets a duplicate.
    """

    def __init__(self) -> None:
        self._met: deque[bool] = deque(maxlen=RECENT_FLUSHES)

    @property
    def straight(self) -> bool:
        """Whether to try without the temporary table."""
        return 3 * sum(self._met) < max(len(self._met), 1)

    def learn(self, *, met_duplicate: bool) -> None:
        """Take note of what a flush met."""
        self._met.append(met_duplicate)
