"""The strongest links of well-known sources: sources on the left, targets on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from lincorr.scores.relation_scores import FitScores, RelationScores
from pipeline.report.plots.figure import Draw, Palette, Plot, hue_of, to_png, to_svg
from pipeline.report.plots.text import label, short

MAX_SOURCES, EACH = 24, 2
"""More sources, or more links of each, would be indistinguishable."""

_ROW = 0.21  # inches
_ABOVE = 0.66  # inches, for heading and legend
_THICKEST, _THINNEST = 3.6, 0.7  # points
_WRONG: Any = (0, (4, 2))


@dataclass(frozen=True, slots=True)
class DrawnLink:
    """A line of the drawing; `right` is None where the source has no known target."""

    source: str
    target: str
    weight: float
    right: bool | None


def bipartite_plot(relation: RelationScores, key: str) -> Plot | None:
    """Largest weights of each source in each fit: width is weight, colour and dashes are right or wrong."""
    shown = [(fit, links) for fit in relation.fits if (links := links_of(relation, fit.name))]
    if not shown:
        return None

    def drawing(some: Sequence[tuple[FitScores, list[DrawnLink]]]) -> Draw:
        return lambda palette: _draw(some, palette)

    svgs = tuple(
        to_svg(drawing([(fit, links)]), f"{key}-{fit.name}", _describe(fit, links), _tooltips(links))
        for fit, links in shown
    )
    return Plot(svgs, to_png(drawing(shown)))


def links_of(relation: RelationScores, fit: str) -> list[DrawnLink]:
    """The links that are drawn of a fit, largest weight first."""
    links = [
        DrawnLink(row.source, link.token, link.weight, link.right if row.truth else None)
        for row in relation.strongest[:MAX_SOURCES]
        for link in row.by_fit.get(fit, ())[:EACH]
        if link.weight is not None
    ]
    return sorted(links, key=lambda link: -link.weight)


def _describe(fit: FitScores, links: list[DrawnLink]) -> str:
    words = f"Strongest links of {fit.label}: {len(links)} lines from sources to targets."
    if any(link.right is not None for link in links):
        words += f" {sum(bool(link.right) for link in links)} lead to a true target."
    first = links[0]
    return f"{words} The widest: {label(first.source, 60)} to {label(first.target, 60)}."


def _tooltips(links: list[DrawnLink]) -> dict[str, str]:
    return {
        f"link-{number}": f"{label(link.source, 60)} → {label(link.target, 60)}: "
        f"{short(link.weight)}{' (true)' if link.right else ''}"
        for number, link in enumerate(links)
    }


def _draw(shown: Sequence[tuple[FitScores, list[DrawnLink]]], palette: Palette) -> Figure:
    sides = [_sides(links) for _, links in shown]
    rows = max(len(side) for both in sides for side in both)
    height = _ABOVE + _ROW * rows
    figure = Figure((5 * len(shown), height))
    for column, ((fit, links), (left, right)) in enumerate(zip(shown, sides, strict=True)):
        rectangle = ((column + 0.3) / len(shown), 0.0, 0.4 / len(shown), 1 - _ABOVE / height)
        axes = figure.add_axes(rectangle, frameon=False)
        axes.set(xlim=(0, 1), ylim=(rows, 0), xticks=[], yticks=[])
        _draw_links(axes, links, _heights(left, rows), _heights(right, rows), palette)
        _add_heading(axes, fit, links, palette)
    return figure


def _sides(links: list[DrawnLink]) -> tuple[list[str], list[str]]:
    """Both sides from top to bottom, each token near the middle of those that it is linked to."""
    left = list(dict.fromkeys(link.source for link in links))
    right = list(dict.fromkeys(link.target for link in links))
    for _ in range(4):
        right = _nearer(right, left, [(link.target, link.source) for link in links])
        left = _nearer(left, right, [(link.source, link.target) for link in links])
    return left, right


def _nearer(tokens: list[str], others: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    position = {other: number for number, other in enumerate(others)}

    def middle(token: str) -> float:
        linked = [position[other] for mine, other in pairs if mine == token]
        return sum(linked) / len(linked)

    return sorted(tokens, key=middle)


def _heights(tokens: list[str], rows: int) -> dict[str, float]:
    """Where each token is; the shorter side is spread over the height of the longer."""
    return {token: (number + 0.5) * rows / len(tokens) for number, token in enumerate(tokens)}


def _draw_links(
    axes: Axes, links: list[DrawnLink], left: dict[str, float], right: dict[str, float], palette: Palette
) -> None:
    greatest = max(abs(link.weight) for link in links) or 1.0
    for number, link in reversed(list(enumerate(links))):  # the strongest on top
        y1, y2 = left[link.source], right[link.target]
        corners = [(0.0, y1), (0.5, y1), (0.5, y2), (1.0, y2)]
        curve = Path(corners, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        width = _THINNEST + (_THICKEST - _THINNEST) * abs(link.weight) / greatest
        line = PathPatch(curve, fill=False, linewidth=width, capstyle="butt", **_look(link.right, palette))
        line.set(gid=f"link-{number}", clip_on=False)
        axes.add_patch(line)
    for heights, x, side in ((left, -0.03, "right"), (right, 1.03, "left")):
        for token, y in heights.items():
            axes.text(x, y, label(token), ha=side, va="center", color=palette.ink)


def _look(right: bool | None, palette: Palette) -> dict[str, Any]:
    if right is None:
        return {"edgecolor": palette.muted}
    if right:
        return {"edgecolor": palette.positive, "zorder": 2}
    return {"edgecolor": palette.negative, "linestyle": _WRONG}


def _add_heading(axes: Axes, fit: FitScores, links: list[DrawnLink], palette: Palette) -> None:
    axes.set_title(fit.label, color=palette.ink, pad=28)
    bar = Line2D([-0.4, 1.4], [1, 1], transform=axes.get_xaxis_transform(), clip_on=False)
    bar.set(color=hue_of(fit.name, palette), linewidth=1)
    axes.add_line(bar)
    if all(link.right is None for link in links):
        return
    true = Line2D([], [], color=palette.positive, linewidth=2, label="true")
    wrong = Line2D([], [], color=palette.negative, linewidth=2, linestyle=_WRONG, label="not true")
    axes.legend(
        handles=[true, wrong], loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.4, ncols=2
    )
