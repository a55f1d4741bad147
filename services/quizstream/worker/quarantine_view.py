"""How rows of quarantine are shown to an operator. What clients sent is shown without its control characters."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from quizstream.worker.quarantine import Quarantined

_COLUMNS: Final = (
    ("id", "quarantine_id"),
    ("quarantined", "quarantined_at"),
    ("reason", "reason"),
    ("sqlstate", "sqlstate"),
    ("course", "course_id"),
    ("quiz", "quiz_id"),
    ("submission", "submission_id"),
    ("attempt", "attempt"),
    ("kind", "raw_kind"),
    ("bytes", "raw_bytes"),
    ("replayed", "replayed_at"),
)


def table(rows: Iterable[Quarantined]) -> str:
    """Give rows as a table with a heading, without payload."""
    cells = [[heading for heading, _ in _COLUMNS]]
    cells += [[_cell(getattr(row, field)) for _, field in _COLUMNS] for row in rows]
    return columns(cells)


def columns(cells: Sequence[Sequence[str]]) -> str:
    """Give lines with the cells of each column below one another."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "".join(f"{line}\n" for line in lines)


def json_lines(rows: Iterable[Quarantined]) -> str:
    """Give rows as one JSON object a line, without payload."""
    return "".join(f"{json.dumps(row._asdict(), default=_plain)}\n" for row in rows)


def details(row: Quarantined, raw: bytes) -> str:
    """Give all that there is about one row, what was sent among it."""
    lines = [f"{name:<15} {_cell(value)}" for name, value in row._asdict().items()]
    sent = raw.decode(errors="backslashreplace").split("\n")
    return "\n".join([*lines, "raw:", *map(printable, sent), ""])


def printable(text: str) -> str:
    """Give text that leaves a terminal alone: what cannot be printed is escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else printable(str(value))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)
