"""The table of scenarios, from what a run has shown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.scenario import Figures

_BEGIN, _END = "<!-- scenarios -->\n", "<!-- /scenarios -->"


class Shown(NamedTuple):
    """A scenario that was played to its end."""

    name: str
    broken: str
    seed: int
    figures: Figures


def lines(shown: Sequence[Shown]) -> Iterator[str]:
    """One line for each scenario, for people who watch the run."""
    for name, _, seed, figures in shown:
        peak = ", ".join(f"{part} {size >> 20}" for part, size in sorted(figures.peak_bytes.items()))
        verdict = figures.verdict
        yield (
            f"{name}: seed {seed}, {figures.events} events, {figures.faults} faults, lost {verdict.lost}, "
            f"doubled {verdict.doubled}, out of order {verdict.out_of_order}, first row after at most "
            f"{figures.first_row_seconds:.1f} s, slowest answer {figures.worst_answer_seconds:.1f} s, "
            f"peak MiB: {peak}; {figures.seconds:.0f} s"
        )


def table(shown: Sequence[Shown]) -> str:
    """The table in Markdown."""
    head = [
        "| scenario | what was broken | faults | events | lost, doubled, out of order | first row after | s |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(one) for one in sorted(shown))]) + "\n"


def _row(one: Shown) -> str:
    figures, verdict = one.figures, one.figures.verdict
    name = one.name.removeprefix("test_").replace("_", " ")
    first = f"{figures.first_row_seconds:.1f} s" if figures.first_row_seconds else ""
    wrong = f"{verdict.lost}, {verdict.doubled}, {verdict.out_of_order}"
    columns = (name, one.broken, figures.faults, figures.events, wrong, first, round(figures.seconds))
    return f"| {' | '.join(map(str, columns))} |"


def write(readme: Path, shown: Sequence[Shown]) -> None:
    """Put the table into the file, between its two marks."""
    text = readme.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(before + _BEGIN + table(shown) + _END + after, "utf-8")
