"""The ratios as a picture, readable on light and on dark pages: no background, and colours between the two."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from tests.benchmarks.targets import Judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Contrast of at least 4 to 1 on white and on #0d1117; the bars and marks at least 2 and 3 to 1.
INK = "#6e7781"
_BAR = "#6f9fe0"
_MISSED = "#e08d78"
_MARK = "#a34e00"
_BAR_HEIGHT = 0.62
_INCHES_OF_A_BAR = 0.42
_INCHES_BESIDE_BARS = 1.3
_WIDTH_INCHES = 11.0
_FIGURES = {"cpu_us": "CPU", "per_second": "throughput", "p99_ms": "p99"}


class Panel(NamedTuple):
    """Bars that share an axis."""

    title: str
    bars: Sequence[Judged]


def panels(judged: Sequence[Judged]) -> list[Panel]:
    """Part what has a target into comparisons with the possible, at most 1, and with the usual, above 1."""
    aimed = [one for one in judged if one.target.at_least or one.target.goal]
    possible = [one for one in aimed if (one.target.at_least or one.target.goal or 0) <= 1]
    found = (
        Panel("beside the least there is to do (1 = as good)", possible),
        Panel("beside what one would write first (1 = as good)", [one for one in aimed if one not in possible]),
    )
    return [panel for panel in found if panel.bars]


def draw(path: Path, judged: Sequence[Judged], caption: str) -> None:
    """Write the picture as SVG; `caption` says on what it was measured."""
    shown = panels(judged)
    if not shown:
        return
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "quizstream", "font.size": 9}):
        heights = [len(panel.bars) for panel in shown]
        figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) * _INCHES_OF_A_BAR + len(shown) * _INCHES_BESIDE_BARS))
        axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
        for panel, (axis,) in zip(shown, axes, strict=True):
            _draw_panel(axis, panel)
        figure.text(0.995, 0.005, caption, ha="right", va="bottom", color=INK, fontsize=7)
        figure.tight_layout(rect=(0, 0.02, 1, 1))
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _draw_panel(axis: "Axes", panel: Panel) -> None:
    values = [one.value for one in panel.bars]
    places = range(len(values))
    colours = [_MISSED if one.verdict == "missed" else _BAR for one in panel.bars]
    beside = axis.get_yaxis_transform()  # so that no mark crosses a number
    axis.barh(places, values, _BAR_HEIGHT, color=colours)
    for place, one in zip(places, panel.bars, strict=True):
        axis.text(1.01, place, f"{one.value:.2f}", transform=beside, va="center", color=INK, fontweight="bold")
        _mark(axis, place, one.target.at_least, "solid")
        _mark(axis, place, one.target.goal, (0, (2, 1)))
    axis.axvline(1, color=INK, linewidth=1)
    axis.set_yticks(places, [_label(one) for one in panel.bars])
    axis.set_xlim(0, 1.05 * max(1.0, *values, *(one.target.goal or 0 for one in panel.bars)))
    axis.invert_yaxis()
    axis.set_title(f"{panel.title}; target | and goal \u00a6", loc="left", color=INK, fontsize=10)
    axis.tick_params(colors=INK, length=0)
    axis.set_frame_on(False)


def _mark(axis: "Axes", place: int, value: float | None, style: str | tuple[int, tuple[int, int]]) -> None:
    if value is not None:
        half = _BAR_HEIGHT / 2 + 0.1
        axis.plot([value, value], [place - half, place + half], color=_MARK, linewidth=2, linestyle=style)


def _label(one: Judged) -> str:
    target = one.target
    figure = _FIGURES.get(target.figure, target.figure)
    return f"{target.benchmark}\n{figure}, {target.contender} : {target.baseline}"
