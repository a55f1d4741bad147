"""The table of scenarios, from what runs have shown: each run replaces the rows of what it played."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.scenario import Figures

_BEGIN, _END = "<!-- scenarios -->\n", "<!-- /scenarios -->"
_KINDS = ("gateway", "worker", "reader")


class Shown(NamedTuple):
    """A scenario that was played to its end."""

    name: str
    broken: str
    seed: int
    figures: Figures


class Row(NamedTuple):
    """A row of the table, as it is written."""

    scenario: str
    broken: str
    invariants: str
    faults: str
    kills: str
    events: str
    wrong: str
    first_row: str
    slowest_answer: str
    peaks: str
    seed: str
    seconds: str


_HEAD = Row(
    "scenario",
    "what was broken",
    "invariants",
    "faults",
    "kills",
    "events",
    "lost, doubled, out of order",
    "first row after, s",
    "slowest answer, s",
    "peak MiB: gateway, worker, reader",
    "seed",
    "s",
)


def lines(shown: Sequence[Shown]) -> Iterator[str]:
    """One line for each scenario, for people who watch the run."""
    for name, _, seed, figures in shown:
        verdict = figures.verdict
        yield (
            f"{name}: seed {seed}, {figures.events} events, {figures.faults} faults, {figures.kills} kills, "
            f"lost {verdict.lost}, doubled {verdict.doubled}, out of order {verdict.out_of_order}, first row after at "
            f"most {figures.first_row_seconds:.1f} s, slowest answer {figures.worst_answer_seconds:.1f} s, "
            f"peak MiB: {', '.join(_peaks(figures))}; {figures.seconds:.0f} s"
        )
        yield from (f"    {remark}" for remark in figures.remarks)


def title(test: str) -> str:
    """The name of a test as the table has it."""
    return test.removeprefix("test_").replace("_", " ")


def row_of(one: Shown) -> Row:
    """What the table says of a scenario."""
    figures, verdict = one.figures, one.figures.verdict
    return Row(
        title(one.name),
        one.broken,
        figures.invariants,
        str(figures.faults),
        str(figures.kills),
        str(figures.events),
        f"{verdict.lost}, {verdict.doubled}, {verdict.out_of_order}",
        f"{figures.first_row_seconds:.1f}" if figures.first_row_seconds else "",
        f"{figures.worst_answer_seconds:.1f}",
        ", ".join(str(figures.peak_bytes.get(kind, 0) >> 20) for kind in _KINDS),
        str(one.seed),
        str(round(figures.seconds)),
    )


def table(rows: Iterable[Row]) -> str:
    """The table in Markdown, with what it comes to in all."""
    ordered = sorted(rows)
    lines_of = [_line(_HEAD), "|---" * len(_HEAD) + "|", *map(_line, ordered)]
    return "\n".join([*lines_of, "", *_summary(ordered)]) + "\n"


def rows_in(text: str) -> list[Row]:
    """The rows of a table that `table` has made."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in one)) for one in cells[1:] if len(one) == len(_HEAD)]


def write(readme: Path, shown: Sequence[Shown], played: Collection[str], known: Collection[str]) -> None:
    """Put the table into the file, between its two marks.

    Of what was there stay the rows of tests that were not `played`, as long as there is such a test (`known`): what
    was played and has failed has no row. Names are those of tests, with their parameters in `played`.
    """
    text = readme.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    old, _, after = rest.partition(_END)
    gone, kept = {title(name) for name in played}, {title(name) for name in known}
    rows = {one.scenario: one for one in rows_in(old) if one.scenario not in gone}
    rows = {name: one for name, one in rows.items() if name.partition("[")[0] in kept}
    rows |= {one.scenario: one for one in map(row_of, shown)}
    readme.write_text(before + _BEGIN + table(rows.values()) + _END + after, "utf-8")


def _line(row: Row) -> str:
    return f"| {' | '.join(row)} |"


def _peaks(figures: Figures) -> Iterator[str]:
    return (f"{part} {size >> 20}" for part, size in sorted(figures.peak_bytes.items()))


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    wrong = [sum(int(row.wrong.split(", ")[at]) for row in rows) for at in range(3)]
    first = max((float(row.first_row) for row in rows if row.first_row), default=0.0)
    peaks = [max(int(row.peaks.split(", ")[at]) for row in rows) for at in range(3)]
    yield (
        f"{len(rows)} scenarios, {sum(int(row.events) for row in rows)} events, "
        f"{sum(int(row.faults) for row in rows)} faults, {sum(int(row.kills) for row in rows)} kills of processes: "
        f"lost {wrong[0]}, doubled {wrong[1]}, out of order {wrong[2]}."
    )
    yield (
        f"Worst time to the first row after healing {first:.1f} s, slowest answer "
        f"{max(float(row.slowest_answer) for row in rows):.1f} s."
    )
    yield "Peak memory: " + ", ".join(f"{kind} {peak} MiB" for kind, peak in zip(_KINDS, peaks, strict=True)) + "."
