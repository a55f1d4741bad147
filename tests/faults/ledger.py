"""What was sent and what was answered: the one side of the comparison."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Outcome = Literal["acked", "refused", "unknown"]
REPLAYED_AS = "found_again"  # the type that scenarios give to what they replay out of quarantine


class Content(NamedTuple):
    """What makes two events equal. Of an element that cannot be stored: no type, and its text as it was sent."""

    submission: int
    event_type: str | None
    client_timestamp: str | None
    text: str


def as_sent(content: Content) -> Content:
    """The content of the element that became this event: another one where it was replayed out of quarantine."""
    if content.event_type != REPLAYED_AS:
        return content
    return Content(content.submission, None, None, f'{{"event_data":{content.text}}}')


class Element(NamedTuple):
    """One event of a request. `marked`: no other has its content. `recognised`: a repetition is told from a second.

    `poison`: the store refuses it; it came past the gateway.
    """

    content: Content
    marked: bool = True
    recognised: bool = True
    poison: bool = False


@dataclass
class Request:
    """A request on its way, or answered; `must_be_refused` where it is one that a sound system refuses.

    `code` is that of the first error of the answer, `quarantined` what it says of unusable events, and `seconds` how
    long it took.
    """

    elements: Sequence[Element]
    attempt: int | None
    must_be_refused: bool = False
    outcome: Outcome = "unknown"
    status: int | None = None
    retry_after: str | None = None
    code: str = ""
    quarantined: int = 0
    seconds: float = 0.0


class Copies(NamedTuple):
    """How many rows a content may have."""

    least: int
    most: int


@dataclass(repr=False)  # thousands of requests, which pytest would write into every traceback
class Ledger:
    """All requests in the order in which they were sent.

    `moved`: submissions that went on in another partition, of which no order is promised.
    """

    requests: list[Request] = field(default_factory=list)
    moved: set[int] = field(default_factory=set)

    def send(self, elements: Sequence[Element], attempt: int | None, *, must_be_refused: bool = False) -> Request:
        """Take note of a request before it is sent."""
        request = Request(elements, attempt, must_be_refused)
        self.requests.append(request)
        return request

    @property
    def acked_events(self) -> int:
        """How many events were answered 204, repetitions counted."""
        return sum(len(request.elements) for request in self._answered("acked"))

    def elements(self) -> Mapping[Content, Element]:
        """Give every element once, in the order in which it was first sent."""
        return {element.content: element for request in reversed(self.requests) for element in request.elements}

    def in_order_sent(self) -> Iterator[Element]:
        """Give every element once, in the order in which it was first sent."""
        seen: set[Content] = set()
        for request in self.requests:
            for element in request.elements:
                if element.content not in seen:
                    seen.add(element.content)
                    yield element

    def acked(self) -> set[Content]:
        """Give the contents that were answered 204 at least once."""
        return {element.content for request in self._answered("acked") for element in request.elements}

    def copies(self) -> Mapping[Content, Copies]:
        """Give how many rows each content may have.

        Equals of one request are told apart by their number in it, so several requests make as many rows as the one
        with the most. What has no readable stamp is stored as often as it was taken.
        """
        least, most = _Tally(), _Tally()
        for request in self.requests:
            if request.outcome == "refused":
                continue
            most.add(request.elements)
            if request.outcome == "acked":
                least.add(request.elements)
        return {content: Copies(least.count[content], most.count[content]) for content in most.count}

    def attempts(self) -> Mapping[Content, set[int]]:
        """Give the attempts an event may be filed under: those it was sent with, up to its first 204."""
        allowed: dict[Content, set[int]] = {}
        settled: set[Content] = set()
        for request in self.requests:
            contents = {element.content for element in request.elements} - settled
            for content in contents:
                allowed.setdefault(content, set()).add(request.attempt or 1)
            if request.outcome == "acked":
                settled |= contents
        return allowed

    def _answered(self, outcome: Outcome) -> Iterator[Request]:
        return (request for request in self.requests if request.outcome == outcome)


class _Tally:
    def __init__(self) -> None:
        self.count: Counter[Content] = Counter()

    def add(self, elements: Iterable[Element]) -> None:
        elements = list(elements)
        recognised = {element.content: element.recognised for element in elements}
        for content, number in Counter(element.content for element in elements).items():
            before = self.count[content]
            self.count[content] = max(before, number) if recognised[content] else before + number
