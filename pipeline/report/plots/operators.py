"""Each map on every relation's rows, as a table of colours; and r through few directions of the source."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lincorr.scores.relation_scores import INFLUENCED_TARGET
from lincorr.scores.study import WORDINGS, Applied, JointRank, OperatorGroup
from pipeline.report.plots.cells import Panel, Table, draw_cells
from pipeline.report.plots.figure import Draw, Palette, Plot, hue_of, to_png, to_svg
from pipeline.report.plots.text import label, minus, numbers, signed


def operators_plot(group: OperatorGroup, key: str) -> Plot | None:
    """Maps down, relations across: r, and hit@1 where it depends on the relation; None for a family.

    The wordings of one relation have the same sources and ground truth: hit@1 is each map's own.
    """
    if group.applied is None:
        return None
    found = {"r": _values(group, lambda cell: cell.r)}
    hits = _values(group, lambda cell: cell.hit(INFLUENCED_TARGET, 1))
    if group.kind != WORDINGS and numbers([value for row in hits for value in row]):
        found["hit@1"] = hits
    panels = [Panel(values, "map of", f"{what} on", what) for what, values in found.items()]
    svgs = tuple(
        to_svg(_drawing(group, [panel]), f"{key}-{number}", _describe(group, panel), _tips(group, panel))
        for number, panel in enumerate(panels)
    )
    return Plot(svgs, to_png(_drawing(group, panels)))


def _values(group: OperatorGroup, of: Callable[[Applied], float | None]) -> Table:
    return [[of(cell) for cell in row] for row in group.applied or ()]


def _drawing(group: OperatorGroup, panels: Sequence[Panel]) -> Draw:
    return lambda palette: draw_cells(group.relations, panels, palette)


def _tips(group: OperatorGroup, panel: Panel) -> dict[str, str]:
    return {
        f"{panel.gid}-{i}-{j}": f"{label(own, 40)} on {label(other, 40)}: {signed(panel.values[i][j], 3)}"
        for i, own in enumerate(group.relations)
        for j, other in enumerate(group.relations)
    }


def _describe(group: OperatorGroup, panel: Panel) -> str:
    values = panel.values
    own = numbers([row[i] for i, row in enumerate(values)])
    others = numbers([value for i, row in enumerate(values) for j, value in enumerate(row) if i != j])
    return (
        f"Heat map of {panel.gid} of {len(group.relations)} maps, down, on the rows of each relation, "
        f"across: mean {signed(_mean(own), 2)} on their own, {signed(_mean(others), 2)} on others."
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# --- joint rank ----------------------------------------------------------------------------------------


def rank_plot(group: OperatorGroup, key: str) -> Plot | None:
    """Draw r against the number of directions: the mean over maps strongly, each map lightly."""
    joint = group.joint
    if not numbers(joint.r) or len(joint.points) < 2:
        return None

    def draw(palette: Palette) -> Figure:
        return _draw_ranks(joint, palette, hue_of(group.fit, palette))

    words = (
        f"Mean r of {len(joint.r)} maps against the number of directions of their source. "
        f"{100 * joint.share:.0f} % of every map's r needs {_count(joint.together)} shared directions; "
        f"each by itself {', '.join(map(_count, joint.alone))}, {_count(joint.apart)} in sum."
    )
    return Plot((to_svg(draw, key, words),), to_png(draw))


def _count(directions: int | None) -> str:
    return "no number of" if directions is None else f"{directions:,}"


def _draw_ranks(joint: JointRank, palette: Palette, hue: str) -> Figure:
    figure = Figure((5.6, 3.0), layout="constrained")
    axes = figure.subplots()
    xs = [point.directions for point in joint.points]
    for number in range(len(joint.r)):
        ys = [point.together[number] for point in joint.points]
        _line(axes, xs, ys, color=hue, linewidth=0.7, alpha=0.4, label="each map" if number == 0 else "_")
    together = [_mean(numbers(point.together)) for point in joint.points]
    alone = [_mean(numbers(point.alone)) for point in joint.points]
    _line(axes, xs, together, color=hue, linewidth=2.2, label="mean, the same for all")
    _line(axes, xs, alone, color=palette.ink, linestyle=(0, (3, 2)), label="mean, each map's own")
    if joint.together is not None:
        words = f"{joint.together:,} keep {100 * joint.share:.0f} % of each r"
        axes.axvline(joint.together, color=palette.ink, linewidth=0.9, label=words, zorder=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    axes.set_xlabel("directions of the source")
    axes.set_ylabel("held-out r")
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines.left.set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handlelength=2.2, borderaxespad=0)
    return figure


def _line(axes: Axes, xs: Sequence[int], ys: Sequence[float | None], **style: Any) -> None:
    known = [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], **style)
