"""How many connections are open at a time, and which of them makes room for the next."""

from itertools import chain
from typing import Protocol


class Connection(Protocol):
    """What can be closed while it waits for a request."""

    @property
    def is_idle(self) -> bool:
        """Whether no request runs on it, and none has come."""

    def force_close(self) -> None:
        """Close it at once."""


class Connections:
    """Beyond `most` the one that has been idle longest is closed; where none is idle there is no room.

    Those that never had a request go first: who closes one that a proxy keeps may cross its next request.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._unused: dict[Connection, None] = {}  # ordered sets: idle longest first
        self._kept: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether the next one needs room."""
        return len(self._open) >= self._most

    def make_room(self) -> bool:
        """Close the one that is to go first; tell whether there was one."""
        connection = next((one for one in chain(self._unused, self._kept) if one.is_idle), None)
        if connection is None:
            return False
        self.close(connection)
        connection.force_close()
        return True

    def open(self, connection: Connection) -> None:
        """Count one that has just been made."""
        self._open.add(connection)
        self._unused[connection] = None

    def begin_request(self, connection: Connection) -> None:
        """Leave one alone while it is in use."""
        self._unused.pop(connection, None)
        self._kept.pop(connection, None)

    def end_request(self, connection: Connection) -> None:
        """Let one go as the last of those that are idle now."""
        if connection in self._open:
            self._kept[connection] = None

    def close(self, connection: Connection) -> None:
        """Forget one that is closed."""
        self._open.discard(connection)
        self.begin_request(connection)
