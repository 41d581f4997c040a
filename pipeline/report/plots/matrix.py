"""Every prompt of a family against every other: held-out r as a map of colours."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lincorr.scores.study import Matrix
from pipeline.report.plots.figure import Palette, Plot, to_png, to_svg
from pipeline.report.plots.text import label, minus, numbers, signed

MOST_WITH_FIGURES = 14
"""The most prompts on a side for which r is written in the cells; more would be illegible."""


def matrix_plot(matrix: Matrix, key: str) -> Plot | None:
    """Source prompts down, target prompts across; None where no pair has an r."""
    names = [template.name for template in matrix.templates]
    rows = matrix.r
    known = numbers([r for row in rows for r in row])
    if not known:
        return None
    tooltips = {
        f"pair-{i}-{j}": f"{label(source, 40)} → {label(target, 40)}: {signed(rows[i][j], 3)}"
        for i, source in enumerate(names)
        for j, target in enumerate(names)
        if i != j
    }
    description = (
        f"Heat map of r of {len(known)} pairs of {len(names)} prompts, sources down, targets across, "
        f"{signed(min(known), 2)} to {signed(max(known), 2)}, mean {signed(sum(known) / len(known), 2)}."
    )

    def draw(palette: Palette) -> Figure:
        return _draw(names, rows, palette)

    return Plot((to_svg(draw, key, description, tooltips),), to_png(draw))


def _draw(names: Sequence[str], rows: Sequence[Sequence[float | None]], palette: Palette) -> Figure:
    shown = [label(name, 24) for name in names]
    figures = len(names) <= MOST_WITH_FIGURES
    cell_w, cell_h = (0.4, 0.26) if figures else (0.2, 0.17)
    widest = 0.075 * max(map(len, shown))
    left, above = 0.25 + widest, 0.25 + 0.85 * widest
    across, down = cell_w * len(names), cell_h * len(names)
    width, height = left + across + max(1.0, 0.6 * widest), above + down + 0.35
    figure = Figure((width, height))
    axes = figure.add_axes((left / width, 0.35 / height, across / width, down / height))
    for i, row in enumerate(rows):
        for j, r in enumerate(row):
            if r is not None:
                _cell(axes, i, j, r, palette, figures)
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(names), 0)
    axes.spines[:].set(visible=True, color=palette.rule)
    size = 8.5 if figures else 7
    middles = [position + 0.5 for position in range(len(names))]
    axes.set_yticks(middles, shown, color=palette.ink, fontsize=size)
    axes.set_xticks(middles, shown, color=palette.ink, fontsize=size)
    axes.tick_params(length=0, pad=3)
    axes.xaxis.tick_top()
    for tick in axes.get_xticklabels():
        tick.set(rotation=55, rotation_mode="anchor", ha="left", va="center")
    axes.set_ylabel("source prompt")
    axes.set_xlabel("target prompt")
    return figure


def _cell(axes: Axes, i: int, j: int, r: float, palette: Palette, figures: bool) -> None:
    """Opacity is the size of r, so that zero is the page's own colour in any theme."""
    hue = palette.positive if r >= 0 else palette.negative
    cell = Rectangle((j, i), 1, 1, facecolor=hue, alpha=round(0.75 * min(abs(r), 1.0), 3), linewidth=0)
    cell.set(gid=f"pair-{i}-{j}", clip_on=False)
    axes.add_patch(cell)
    if figures:
        words = minus(f"{round(r, 2) + 0.0:.2f}".replace("0.", ".", 1))  # + 0.0: no negative zero
        axes.text(j + 0.5, i + 0.52, words, ha="center", va="center", fontsize=7.5, color=palette.ink)
