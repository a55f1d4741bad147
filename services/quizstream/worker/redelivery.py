"""Recognising events that are stored already, and choosing the cheaper way to store the others."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from quizstream.worker.copy_rows import EventRow
from quizstream.worker.event import Event

EventKey: TypeAlias = bytes

REMEMBERED_IDS: Final = 200_000  # up to 50 MB; the last 20 s at 10,000 events a second: browsers repeat after 15
RECENT_FLUSHES: Final = 9
_AHEAD: Final = timedelta(days=1)


def key_of(event: Event) -> EventKey:
    """Give what makes an event the same: its id, of which its submission is a part."""
    return event.event_id + event.submission_id


def filed_by_receipt(event: Event) -> bool:
    """Tell whether another delivery of the same content may be filed under another time.

    That is so where the stamp is not credible at receipt, or comes close to that border; then the primary key, of
    which the time is a part, does not see the repetition. Events without a stamp have random ids: no repetition is
    recognised, and none need be looked for.
    """
    if event.occurred_at < event.received_at or not event.is_stamped:  # of equal form: they compare as times do
        return False
    if event.occurred_at == event.received_at:
        return True
    return _instant(event.occurred_at) > _instant(event.received_at) + _AHEAD


def _instant(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode())


class RecentIds:
    """Ids this worker stored lately: at least `capacity` of them and at most twice as many, then the oldest go.

    A flush may bring it above that by what it stored.

    Safe, because an id enters only after its transaction is committed, and all are forgotten whenever a stored offset
    is not where it was left: the rows may have gone back with it (a restore).
    """

    def __init__(self, capacity: int = REMEMBERED_IDS) -> None:
        self._capacity = capacity
        self._newer: set[EventKey] = set()
        self._older: set[EventKey] = set()

    def among(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Give those of `keys` that are remembered."""
        return self._newer.intersection(keys) | self._older.intersection(keys)

    def remember(self, keys: Iterable[EventKey]) -> None:
        """Add keys."""
        self._newer.update(keys)
        if len(self._newer) >= self._capacity:
            self._newer, self._older = set(), self._newer

    def clear(self) -> None:
        """Forget all."""
        self._newer, self._older = set(), set()


def without_repetitions(rows: Sequence[EventRow], stored: RecentIds) -> Mapping[EventKey, EventRow]:
    """Keep the first of equal events, and none that is known to be stored."""
    fresh: dict[EventKey, EventRow] = {}
    for row in rows:
        fresh.setdefault(key_of(row.event), row)
    for key in stored.among(fresh):
        del fresh[key]
    return fresh


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
