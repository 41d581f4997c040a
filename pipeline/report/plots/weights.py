"""The strongest block of W as a map of colours."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lincorr.scores.relation_scores import Heatmap, RelationScores
from pipeline.report.plots.figure import Palette, Plot, to_png, to_svg
from pipeline.report.plots.text import label, minus, numbers, short

MAX_SOURCES, MAX_TARGETS = 40, 48
"""A larger map would be illegible; the page says when cells were left out."""


@dataclass(frozen=True, slots=True)
class WeightMap:
    """The part of W that is drawn: `weights[row][column]` is from source row to target column."""

    sources: list[str]
    targets: list[str]
    weights: list[list[float | None]]
    right: list[list[bool]]
    left_out: str
    """What was left out to keep the map readable, as a sentence, or nothing."""

    @property
    def largest(self) -> float:
        """The greatest absolute weight; 1 where all are zero."""
        return max((abs(w) for row in self.weights for w in numbers(row)), default=0.0) or 1.0


def weight_map(heatmap: Heatmap) -> WeightMap | None:
    """The first sources, and of the targets those with right cells or the greatest weights."""
    if not heatmap.sources or not heatmap.targets:
        return None
    rows = range(min(len(heatmap.sources), MAX_SOURCES))
    weights, right = heatmap.weights, heatmap.right

    def importance(column: int) -> tuple[bool, float]:
        greatest = max((abs(weights[row][column] or 0.0) for row in rows), default=0.0)
        return any(right[row][column] for row in rows), greatest

    ranked = sorted(range(len(heatmap.targets)), key=importance, reverse=True)
    columns = sorted(ranked[:MAX_TARGETS])
    left_out = ""
    if len(rows) < len(heatmap.sources) or len(columns) < len(heatmap.targets):
        left_out = (
            f"Shown: {len(rows)} of {len(heatmap.sources)} sources and {len(columns)} of "
            f"{len(heatmap.targets)} targets, those with a true pair or the greatest weights; "
            "all are in report.json."
        )
    return WeightMap(
        [heatmap.sources[row] for row in rows],
        [heatmap.targets[column] for column in columns],
        [[weights[row][column] for column in columns] for row in rows],
        [[right[row][column] for column in columns] for row in rows],
        left_out,
    )


def weights_plot(relation: RelationScores, key: str) -> Plot | None:
    """The strongest block of W: colour is sign and size, an outline is a true pair."""
    if (shown := weight_map(relation.heatmap)) is None:
        return None
    cells = [
        (row, column, source, target)
        for row, source in enumerate(shown.sources)
        for column, target in enumerate(shown.targets)
    ]
    tooltips = {
        f"cell-{row}-{column}": f"{label(source, 60)} → {label(target, 60)}: "
        f"{short(shown.weights[row][column])}{' (true)' if shown.right[row][column] else ''}"
        for row, column, source, target in cells
    }
    true = [(row, column) for row, column, *_ in cells if shown.right[row][column]]
    strongest = sum(_is_strongest(shown.weights[row], column) for row, column in true)
    description = (
        f"Heat map of {len(shown.sources)} sources by {len(shown.targets)} targets of W, weights "
        f"up to {short(shown.largest)} either side of zero. {len(true)} cells are true pairs, "
        f"and {strongest} of them hold the greatest weight of their row."
    )

    def draw(palette: Palette) -> Figure:
        return _draw_weights(shown, palette)

    return Plot((to_svg(draw, key, description, tooltips),), to_png(draw))


def _is_strongest(row: Sequence[float | None], column: int) -> bool:
    weight = row[column]
    return weight is not None and weight == max(numbers(row))


def _text_inches(words: str) -> float:
    """A generous estimate: the reader's font is not known here."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in words)
    return 0.08 * len(words) + 0.06 * wide


def _draw_weights(shown: WeightMap, palette: Palette) -> Figure:
    sources, targets = [label(s) for s in shown.sources], [label(t) for t in shown.targets]
    cell_w, cell_h = 0.3, 0.23
    left = 0.15 + max(map(_text_inches, sources))
    above = 0.15 + 0.85 * max(map(_text_inches, targets))
    across, down = cell_w * len(targets), cell_h * len(sources)
    right = max(0.95, 0.6 * _text_inches(targets[-1]))
    width, height = left + across + right, above + down + 0.1
    figure = Figure((width, height))
    axes = figure.add_axes((left / width, 0.1 / height, across / width, down / height))
    _draw_cells(axes, shown, palette)
    axes.set_yticks([row + 0.5 for row in range(len(sources))], sources, color=palette.ink)
    axes.set_xticks([column + 0.5 for column in range(len(targets))], targets, color=palette.ink)
    axes.tick_params(length=0, pad=3)
    axes.xaxis.tick_top()
    for tick in axes.get_xticklabels():
        tick.set(rotation=55, rotation_mode="anchor", ha="left", va="center")
    bar_height = min(1.5, down)
    bar = figure.add_axes(
        (
            (left + across + 0.3) / width,
            (0.1 + down - bar_height) / height,
            0.11 / width,
            bar_height / height,
        )
    )
    _draw_scale(bar, shown.largest, palette)
    return figure


def _draw_cells(axes: Axes, shown: WeightMap, palette: Palette) -> None:
    """Opacity over the background is the size, so zero is the page's own colour in any theme."""
    for row, weights in enumerate(shown.weights):
        for column, weight in enumerate(weights):
            if weight is None:
                axes.text(column + 0.5, row + 0.5, "–", ha="center", va="center")
                continue
            hue = palette.positive if weight >= 0 else palette.negative
            strength = round(abs(weight) / shown.largest, 3)
            cell = Rectangle((column, row), 1, 1, facecolor=hue, alpha=strength, linewidth=0)
            cell.set(gid=f"cell-{row}-{column}", clip_on=False)
            axes.add_patch(cell)
    for row, marks in enumerate(shown.right):
        for column, right in enumerate(marks):
            if right:
                inset = Rectangle((column + 0.06, row + 0.08), 0.88, 0.84, fill=False, zorder=3)
                inset.set(edgecolor=palette.ink, linewidth=1.1, clip_on=False)
                axes.add_patch(inset)
    axes.set_xlim(0, len(shown.targets))
    axes.set_ylim(len(shown.sources), 0)
    axes.spines[:].set(visible=True, color=palette.rule)


def _draw_scale(axes: Axes, largest: float, palette: Palette) -> None:
    steps = 20
    for step in range(-steps, steps):
        middle = (step + 0.5) / steps
        hue = palette.positive if middle > 0 else palette.negative
        axes.add_patch(Rectangle((0, step), 1, 1, facecolor=hue, alpha=round(abs(middle), 3), linewidth=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(-steps, steps)
    axes.set_xticks([])
    axes.set_yticks([-steps, 0, steps], [minus(f"{v:.2g}") for v in (-largest, 0.0, largest)])
    axes.yaxis.tick_right()
    axes.spines[:].set(visible=True, color=palette.rule)
    axes.set_title("weight", color=palette.muted, pad=8, loc="left")
