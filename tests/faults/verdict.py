"""The comparison of what was sent with topic, table, quarantine and answers. Pure; an empty list is a good verdict."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.faults.ledger import Content, Element, Ledger, as_sent

IDS_PER_OFFSET = 4096
SHOWN_AHEAD = timedelta(minutes=5)


class Row(NamedTuple):
    """A row of the table of events."""

    id: int
    attempt: int
    event_id: str
    occurred_at: datetime
    received_at: datetime
    content: Content

    @property
    def created_at(self) -> datetime:
        """What the reader sorts by."""
        return self.received_at if self.occurred_at > self.received_at + SHOWN_AHEAD else self.occurred_at


class Quarantined(NamedTuple):
    """A quarantine record: where its record is, and the content that it was made of."""

    quarantine_id: str
    reason: str
    topic: str
    partition: int
    offset: int
    content: Content


class Published(NamedTuple):
    """A record of one of the topics, as an independent consumer sees it."""

    topic: str
    partition: int
    offset: int
    key: str
    ce_id: str


class Shown(NamedTuple):
    """An event as GET gives it."""

    id: int
    event_type: str
    event_data: object


class Read(NamedTuple):
    """What somebody got who followed the pages of a log while it grew; not `whole`: who stopped before the end."""

    submission: int
    attempt: int
    as_of: int
    ids: Sequence[int]
    whole: bool


class Position(NamedTuple):
    """Where a partition stands in the store, and where its log ends and begins."""

    stored: int
    end: int
    begin: int = 0


@dataclass(frozen=True)
class Seen:
    """All there is when the faults have healed. `topic` is the name of that of the events.

    `settled` are the ids of what left quarantine by a replay, `reads` what was read meanwhile.
    """

    topic: str
    rows: Sequence[Row]
    quarantined: Sequence[Quarantined]
    published: Sequence[Published]
    answers: Mapping[tuple[int, int], Sequence[Shown]]
    positions: Mapping[tuple[str, int], Position]
    settled: Collection[str] = frozenset()
    reads: Sequence[Read] = ()


class Verdict(NamedTuple):
    """What is wrong, in words, and the three figures that everybody asks for."""

    differences: Sequence[str]
    lost: int
    doubled: int
    out_of_order: int


def judge(ledger: Ledger, seen: Seen) -> Verdict:
    """Hold what is there against what was sent."""
    lost, doubled = list(_lost(ledger, seen)), list(_doubled(ledger, seen))
    disordered = list(_disordered(ledger, seen))
    differences = [
        *lost,
        *doubled,
        *disordered,
        *_refused_without_reason(ledger),
        *_invented(ledger, seen),
        *_misfiled(ledger, seen),
        *_against_the_log(ledger, seen),
        *_answers(seen),
        *_reads(seen),
        *_positions(seen),
    ]
    return Verdict(differences, len(lost), len(doubled), len(disordered))


def _stored(seen: Seen) -> Counter[Content]:
    return Counter([*(as_sent(row.content) for row in seen.rows), *(one.content for one in seen.quarantined)])


def _lost(ledger: Ledger, seen: Seen) -> Iterator[str]:
    stored = _stored(seen)
    for content, copies in ledger.copies().items():
        if stored[content] < copies.least:
            yield f"lost: {stored[content]} of at least {copies.least} copies of {content}"


def _doubled(ledger: Ledger, seen: Seen) -> Iterator[str]:
    stored = _stored(seen)
    for content, copies in ledger.copies().items():
        if stored[content] > copies.most:
            yield f"doubled: {stored[content]} of at most {copies.most} copies of {content}"
    for name, ids in (
        ("row id", [row.id for row in seen.rows]),
        ("event id", [(row.content.submission, row.event_id) for row in seen.rows]),
    ):
        yield from (f"doubled: {name} {one} {count} times" for one, count in Counter(ids).items() if count > 1)


def _disordered(ledger: Ledger, seen: Seen) -> Iterator[str]:
    """Marked events that were acknowledged: in the order in which each submission sent them first."""
    ids = {row.content: row.id for row in seen.rows}
    acked = ledger.acked()
    latest: dict[int, int] = {}
    for element in ledger.in_order_sent():
        content = element.content
        if not element.marked or content not in acked or content not in ids or content.submission in ledger.moved:
            continue
        if ids[content] < latest.get(content.submission, 0):
            yield f"out of order: id {ids[content]} after {latest[content.submission]}, {content}"
        latest[content.submission] = max(ids[content], latest.get(content.submission, 0))


def _refused_without_reason(ledger: Ledger) -> Iterator[str]:
    for request in ledger.requests:
        if request.outcome == "refused" and not request.must_be_refused:
            yield f"refused: {request.status} for {len(request.elements)} events that are sound"
        if request.outcome == "acked" and request.must_be_refused:
            yield "taken: a request without a single usable event"


def _invented(ledger: Ledger, seen: Seen) -> Iterator[str]:
    elements = ledger.elements()
    yield from (f"invented: {content}" for content in _stored(seen) if content not in elements)
    for row in seen.rows:
        if row.content in elements and not _is_storable(elements[row.content]):
            yield f"stored, though it cannot be: {row.content}"
    for one in seen.quarantined:
        if one.content in elements and _is_storable(elements[one.content]):
            yield f"quarantined, though it is sound: {one.reason}, {one.content}"


def _is_storable(element: Element) -> bool:
    return element.content.event_type is not None and not element.poison


def _misfiled(ledger: Ledger, seen: Seen) -> Iterator[str]:
    """Only marked events: of equal ones nobody can tell which is which."""
    marked = {element.content for element in ledger.in_order_sent() if element.marked}
    allowed = ledger.attempts()
    for row in seen.rows:
        if row.content in marked and row.attempt not in allowed.get(row.content, set()):
            yield f"misfiled: attempt {row.attempt}, not {sorted(allowed[row.content])}, {row.content}"


def _against_the_log(ledger: Ledger, seen: Seen) -> Iterator[str]:
    """The store is a function of the topic: each `ce_id` once, under the id of the record that brought it first.

    Of what was stored before its record was deleted there is nothing to compare.
    """
    stored = {(str(row.content.submission), row.event_id): row.id for row in seen.rows}
    incomparable = {key for key, row_id in stored.items() if int(key[0]) in ledger.moved or _is_deleted(seen, row_id)}
    refused = {one.quarantine_id for one in seen.quarantined}
    placed = {(one.topic, one.partition, one.offset) for one in seen.quarantined}
    first: dict[tuple[str, str], int] = {}
    for record in sorted(seen.published, key=lambda one: one.offset):
        if record.topic == seen.topic and record.ce_id not in refused and record[:3] not in placed:
            first.setdefault((record.key, record.ce_id), record.offset * IDS_PER_OFFSET + record.partition)
        elif record.topic != seen.topic and record.ce_id not in refused and record.ce_id not in seen.settled:
            yield f"not in quarantine: {record}"
    yield from (f"published, not stored: {key}" for key in first.keys() - stored.keys())
    yield from (f"stored, not published: {key}" for key in stored.keys() - first.keys() - incomparable)
    replayed = {event_id for _, event_id in stored}
    yield from (f"lost: {one} has left quarantine and is not stored" for one in seen.settled if one not in replayed)
    for key in (first.keys() & stored.keys()) - incomparable:
        if first[key] != stored[key]:
            yield f"another id than its record: {key} has {stored[key]}, not {first[key]}"


def _is_deleted(seen: Seen, row_id: int) -> bool:
    offset, partition = divmod(row_id, IDS_PER_OFFSET)
    position = seen.positions.get((seen.topic, partition))
    return position is not None and offset < position.begin


def _logs(seen: Seen) -> Mapping[tuple[int, int], Sequence[Row]]:
    """The rows of each submission and attempt, in the order of answers."""
    logs: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(seen.rows, key=lambda row: (row.created_at, row.id)):
        logs.setdefault((row.content.submission, row.attempt), []).append(row)
    return logs


def _reads(seen: Seen) -> Iterator[str]:
    """Pages of a growing log give it as it was at the first page: nothing twice, nothing left out."""
    logs = _logs(seen)
    for read in seen.reads:
        then = [row.id for row in logs.get((read.submission, read.attempt), []) if row.id <= read.as_of]
        if list(read.ids) != (then if read.whole else then[: len(read.ids)]):
            yield f"misread: {len(read.ids)} of {len(then)} events, submission {read.submission}, as of {read.as_of}"


def _answers(seen: Seen) -> Iterator[str]:
    """GET gives the table, in its order."""
    logs = _logs(seen)
    for key in logs.keys() | seen.answers.keys():
        expected = [_shown(row) for row in logs.get(key, [])]
        if list(seen.answers.get(key, [])) != expected:
            yield f"GET differs from the table: submission {key[0]}, attempt {key[1]}"


def _shown(row: Row) -> Shown:
    return Shown(row.id, row.content.event_type or "", json.loads(row.content.text))


def _positions(seen: Seen) -> Iterable[str]:
    for partition, position in seen.positions.items():
        if position.stored != position.end:
            yield f"at rest {partition} stands at {position.stored}, and its log ends at {position.end}"
