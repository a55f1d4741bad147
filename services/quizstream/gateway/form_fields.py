"""From the fields of a form to events, by the rules of Rack, which Canvas stands on.

`a[b]` is a member of an object, `a[]` an element of a list, and `a[][b]` a member of the list's last object, unless
that has the member already: then it begins the next one. A name with `[]` further in never begins one. An index makes
an object (`a[0]`). Ours in addition: an object of indexes under `quiz_submission_events` is a list in their order, the
bare name repeated is a list of strings, and `a[][][b]` is a list of lists. Values are strings.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from quizstream.contracts.depth import MAX_DEPTH
from quizstream.contracts.errors import BadBody, BodyTooLarge
from quizstream.contracts.events import CapturedEvent, UnusableElement
from quizstream.contracts.limits import MAX_ELEMENTS
from quizstream.gateway.elements import NOT_OBJECT, NULL, TYPE_INVALID, TYPE_MISSING, capture, storable
from quizstream.gateway.submission import (
    Sliced,
    Submission,
    attempt_invalid,
    events_missing,
    events_not_array,
    read_attempt,
    too_many_events,
)

Field: TypeAlias = tuple[str, str]
FormValue: TypeAlias = "str | list[FormValue] | dict[str, FormValue]"
Step: TypeAlias = str | None
"""A member's name, or None for `[]`."""

EVENTS: Final = "quiz_submission_events"

_READ: Final = frozenset({EVENTS, "attempt", "access_token"})
_KEPT_PATHS: Final = 4_096  # forms repeat a few names; those with indexes need not be kept
_STEPS_PER_SLICE: Final = 1_000  # about 1 ms
_ELEMENTS_PER_SLICE: Final = 250  # about 1 ms

# An event of Canvas's own page has up to two lists and objects, and one more for each question that was answered.
# 232 bytes each: 116 MB for a body whose names are nothing but brackets.
MAX_CONTAINERS: Final = 10 * MAX_ELEMENTS
_INDEX: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def path_of(name: str) -> list[Step]:
    """Split the name of a field into its steps; none where it names nothing.

    `a[b][][c]` is `a`, `b`, `[]`, `c`. A bracket that is not closed belongs to the name, and what follows a closed one
    without a bracket of its own is one more step.
    """
    opening = name.find("[", 1)
    if opening < 0 or opening == len(name) - 1:
        return [name] if name else []
    steps: list[Step] = [name[:opening]]
    position = opening
    while position < len(name):
        closing = name.find("]", position) if name[position] == "[" else -1
        if closing < 0:
            steps.append(name[position:])
            break
        steps.append(name[position + 1 : closing] or None)
        position = closing + 1
    return steps


class FormReader:
    """Gathers the fields of one form."""

    def __init__(self) -> None:
        self._root: dict[str, FormValue] = {}
        self._containers = 0
        self._bare: list[FormValue] = []
        self._paths: dict[str, list[Step]] = {}

    def add(self, name: str, value: str) -> int:
        """Take the next field and tell how many steps that was; fields that do not concern events are passed over.

        Raises:
            BadBody: the name contradicts an earlier one, or is nested deeper than `MAX_DEPTH`.
            BodyTooLarge: there are more than `MAX_ELEMENTS` elements or `MAX_CONTAINERS` lists and objects.

        """
        path = self._path(name)
        if not path or path[0] not in _READ:
            return 1
        if path == [EVENTS]:
            self._bare.append(value)
        elif len(path) > MAX_DEPTH:
            raise BadBody("too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.")
        else:
            self._put(path, value)
        self._check_count()
        return len(path)

    def _path(self, name: str) -> list[Step]:
        path = self._paths.get(name)
        if path is None:
            path = path_of(name)
            if len(self._paths) < _KEPT_PATHS:
                self._paths[name] = path
        return path

    def _check_count(self) -> None:
        events = self._root.get(EVENTS, ())
        if len(events) > MAX_ELEMENTS or len(self._bare) > MAX_ELEMENTS:
            raise too_many_events()
        if self._containers > MAX_CONTAINERS:
            raise BodyTooLarge("form_too_complex", f"At most {MAX_CONTAINERS} lists and objects fit in one form.")

    def _put(self, path: list[Step], value: str) -> None:
        holder, position, last = self._root, 0, len(path) - 1
        while position < last:
            name = path[position] or ""
            position += 1
            if path[position] is not None:
                holder = self._object_in(holder, name)
                continue
            found = self._list_in(holder, name)
            while position < last and path[position + 1] is None:
                found = self._inner_list(found)
                position += 1
            if position == last:
                found.append(value)
                return
            position += 1
            holder = self._open_object(found, path[position:])
        holder[path[last] or ""] = value

    def _object_in(self, holder: dict[str, FormValue], name: str) -> dict[str, FormValue]:
        if name not in holder:
            self._containers += 1
            holder[name] = {}
        found = holder[name]
        if not isinstance(found, dict):
            raise _conflict()
        return found

    def _list_in(self, holder: dict[str, FormValue], name: str) -> list[FormValue]:
        if name not in holder:
            self._containers += 1
            holder[name] = []
        found = holder[name]
        if not isinstance(found, list):
            raise _conflict()
        return found

    def _inner_list(self, outer: list[FormValue]) -> list[FormValue]:
        self._containers += 1
        inner: list[FormValue] = []
        outer.append(inner)
        return inner

    def _open_object(self, elements: list[FormValue], path: list[Step]) -> dict[str, FormValue]:
        if elements and isinstance(last := elements[-1], dict) and not _has(last, path):
            return last
        self._containers += 1
        opened: dict[str, FormValue] = {}
        elements.append(opened)
        return opened

    def submission(self) -> Sliced[Submission]:
        """Give what the fields amount to.

        Raises:
            BadBody: they hold no list of events, or a bad `attempt`.

        """
        events: list[CapturedEvent] = []
        unusable: list[UnusableElement] = []
        for index, element in enumerate(self._elements()):
            event = _event(element)
            if isinstance(event, CapturedEvent):
                events.append(event)
            else:
                unusable.append(UnusableElement(index, event, msgspec.json.encode(element)))
            if index % _ELEMENTS_PER_SLICE == 0:
                yield
        attempt, token = self._root.get("attempt"), self._root.get("access_token")
        if attempt is not None and not isinstance(attempt, str):
            raise attempt_invalid()
        return Submission(
            events,
            unusable,
            None if attempt is None else read_attempt(attempt),
            None if token is None else _text(token),
        )

    def _elements(self) -> list[FormValue]:
        events = self._root.get(EVENTS)
        if events is None:
            if not self._bare:
                raise events_missing()
            return self._bare
        if self._bare:
            raise _conflict()
        if isinstance(events, dict) and all(map(_INDEX.fullmatch, events)):
            return [events[name] for name in sorted(events, key=int)]
        if not isinstance(events, list):
            raise events_not_array()
        return events


def read_fields(fields: Iterable[Field | None]) -> Sliced[Submission]:
    """Read the fields of a form in their order; None among them is a place to rest.

    Raises:
        BadBody: they contradict each other, are nested too deeply, hold no list of events, or a bad `attempt`.
        BodyTooLarge: there are more than `MAX_ELEMENTS` elements.

    """
    reader = FormReader()
    steps = 0
    for field in fields:
        steps += _STEPS_PER_SLICE if field is None else reader.add(*field)
        if steps >= _STEPS_PER_SLICE:
            steps = 0
            yield
    return (yield from reader.submission())


def _has(holder: dict[str, FormValue], path: list[Step]) -> bool:
    if None in path:
        return False
    found: FormValue = holder
    for step in path:
        if step is None or not isinstance(found, dict) or step not in found:
            return False
        found = found[step]
    return True


def _conflict() -> BadBody:
    return BadBody("form_conflict", "The names of the form make one thing a value, a list and an object.")


def _event(element: FormValue) -> CapturedEvent | str:
    if isinstance(element, str):
        return capture(element)
    if isinstance(element, list):
        return NOT_OBJECT
    event_type = element.get("event_type")
    if event_type is None:
        return TYPE_MISSING
    if not isinstance(event_type, str):
        return TYPE_INVALID
    stamp, data = element.get("client_timestamp"), element.get("event_data")
    encoded = NULL if data is None else msgspec.json.encode(data)
    return capture(event_type, None if stamp is None else _text(stamp), encoded)


def _text(value: FormValue) -> str:
    return storable(value) if isinstance(value, str) else storable(msgspec.json.encode(value).decode())
