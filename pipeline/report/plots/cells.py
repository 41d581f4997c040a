"""Square tables of figures as coloured cells, with names down and across."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.report.plots.figure import Palette
from pipeline.report.plots.text import label, signed

MOST_WITH_FIGURES = 14
"""The most names on a side for which figures are written in the cells; more would be illegible."""

Table = Sequence[Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A square table.

    Attributes:
        down, across: what its rows and its columns are.
        gid: with which the gids of its cells begin.
    """

    values: Table
    down: str
    across: str
    gid: str = "pair"


def draw_cells(names: Sequence[str], panels: Sequence[Panel], palette: Palette) -> Figure:
    """Draw tables of the same names side by side."""
    shown = [label(name, 24) for name in names]
    cell_w, cell_h = (0.4, 0.26) if len(names) <= MOST_WITH_FIGURES else (0.2, 0.17)
    widest = 0.075 * max(map(len, shown))
    left, above, right = 0.25 + widest, 0.25 + 0.85 * widest, max(1.0, 0.6 * widest)
    across, down = cell_w * len(names), cell_h * len(names)
    each, height = left + across + right, above + down + 0.35
    width = each * len(panels)
    figure = Figure((width, height))
    for number, panel in enumerate(panels):
        place = ((number * each + left) / width, 0.35 / height, across / width, down / height)
        _draw_panel(figure.add_axes(place), shown, panel, palette)
    return figure


def _draw_panel(axes: Axes, shown: Sequence[str], panel: Panel, palette: Palette) -> None:
    figures = len(shown) <= MOST_WITH_FIGURES
    for i, row in enumerate(panel.values):
        for j, value in enumerate(row):
            if value is not None:
                _cell(axes, (i, j), value, palette, f"{panel.gid}-{i}-{j}", figures=figures)
    axes.set_xlim(0, len(shown))
    axes.set_ylim(len(shown), 0)
    axes.spines[:].set(visible=True, color=palette.rule)
    size = 8.5 if figures else 7
    middles = [position + 0.5 for position in range(len(shown))]
    axes.set_yticks(middles, shown, color=palette.ink, fontsize=size)
    axes.set_xticks(middles, shown, color=palette.ink, fontsize=size)
    axes.tick_params(length=0, pad=3)
    axes.xaxis.tick_top()
    for tick in axes.get_xticklabels():
        tick.set(rotation=55, rotation_mode="anchor", ha="left", va="center")
    axes.set_ylabel(panel.down)
    axes.set_xlabel(panel.across)


def _cell(
    axes: Axes, at: tuple[int, int], value: float, palette: Palette, gid: str, *, figures: bool
) -> None:
    """Opacity is the size of the value, so that zero is the page's own colour in any theme."""
    i, j = at
    hue = palette.positive if value >= 0 else palette.negative
    cell = Rectangle((j, i), 1, 1, facecolor=hue, alpha=round(0.75 * min(abs(value), 1.0), 3), linewidth=0)
    cell.set(gid=gid, clip_on=False)
    axes.add_patch(cell)
    if figures:
        words = signed(value, 2).replace("0.", ".", 1)
        axes.text(j + 0.5, i + 0.52, words, ha="center", va="center", fontsize=7.5, color=palette.ink)
