"""What a run leaves behind: tables, JSON, a picture, and, when asked for, the block of results in the README."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import picture, results, sizing, table
from tests.benchmarks.parts import LIMITS, TARGETS
from tests.benchmarks.results import Results
from tests.benchmarks.schedule import Outcome
from tests.benchmarks.targets import Judged, judge, judge_limits

PICTURE = "ratios.svg"
README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- results -->\n", "<!-- /results -->"


def machine_line(found: Results) -> str:
    """Say on what and with what was measured."""
    machine, versions = found["machine"], found["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "aiohttp", "kafka", "postgresql"))
    return f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}; {named}; {found['began_at']}"


def verdicts(outcomes: Sequence[Outcome]) -> list[Judged]:
    """Give the targets whose benchmarks were run."""
    return list(judge(TARGETS, outcomes))


def summary(found: Results, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Give machine, targets and limits in Markdown."""
    yield machine_line(found)
    if judged := verdicts(outcomes):
        yield ""
        yield from table.target_rows(judged)
    if bounded := list(judge_limits(LIMITS, outcomes)):
        yield ""
        yield from table.limit_rows(bounded)


def leave(directory: Path, found: Results, outcomes: Sequence[Outcome]) -> str:
    """Write `results.json`, `table.md` and the picture; give the text of the table."""
    directory.mkdir(parents=True, exist_ok=True)
    results.write(directory / "results.json", found)
    text = "\n".join([*summary(found, outcomes), "", *table.rows(outcomes), ""])
    (directory / "table.md").write_text(text, "utf-8")
    picture.draw(directory / PICTURE, verdicts(outcomes), machine_line(found))
    return text


def publish(found: Results, outcomes: Sequence[Outcome]) -> None:
    """Put picture and tables of this run into the README beside this file, between its two marks."""
    picture.draw(README.with_name(PICTURE), verdicts(outcomes), machine_line(found))
    before, _, rest = README.read_text("utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    shown = [f"![Ratios]({PICTURE})", "", *summary(found, outcomes), "", *table.rows(outcomes, table.SHOWN_FIGURES)]
    README.write_text(before + _BEGIN + "\n".join(shown) + "\n" + _END + after, "utf-8")
    sizing.publish(machine_line(found), outcomes)
