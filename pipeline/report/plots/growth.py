"""r and hit@1 against the number of subjects, a line for each fit."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lincorr.scores.relation_scores import INFLUENCED_TARGET
from lincorr.scores.study import FamilyPoint
from pipeline.report.plots.figure import Palette, Plot, hue_of, to_png, to_svg
from pipeline.report.plots.text import minus, numbers, signed


def growth_plot(name: str, points: Sequence[FamilyPoint], key: str) -> Plot | None:
    """The growth of a family of this name; None where there are fewer than two numbers of subjects."""
    fits = list(dict.fromkeys(point.fit for point in points))
    lines = {fit: [point for point in points if point.fit == fit] for fit in fits}
    if max((len(points) for points in lines.values()), default=0) < 2:
        return None

    def draw(palette: Palette) -> Figure:
        return _draw(lines, palette)

    return Plot((to_svg(draw, key, _describe(name, lines)),), to_png(draw))


def _describe(name: str, lines: dict[str, list[FamilyPoint]]) -> str:
    words = [f"{name}: scores against the number of subjects."]
    for fit, points in lines.items():
        first, last = points[0], points[-1]
        words.append(
            f"{fit}: r {signed(first.r, 3)} with {first.subjects} subjects, {signed(last.r, 3)} "
            f"with {last.subjects}; hit@1 {signed(_hit1(first), 2)} and {signed(_hit1(last), 2)}."
        )
    return " ".join(words)


def _hit1(point: FamilyPoint) -> float | None:
    return point.hit(INFLUENCED_TARGET, 1)


def _draw(lines: dict[str, list[FamilyPoint]], palette: Palette) -> Figure:
    hits = any(_hit1(point) is not None for points in lines.values() for point in points)
    figure = Figure((4.2 * (1 + hits), 2.7), layout="constrained")
    panels = figure.subplots(1, 1 + hits, squeeze=False)[0]
    _panel(panels[0], lines, [[p.r for p in points] for points in lines.values()], "held-out r", palette)
    if hits:
        found = [[_hit1(point) for point in points] for points in lines.values()]
        _panel(panels[1], lines, found, "hit@1", palette)
        panels[1].set_ylim(-0.03, 1.03)
    panels[0].legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handlelength=2.2, borderaxespad=0
    )
    return figure


def _panel(
    axes: Axes,
    lines: dict[str, list[FamilyPoint]],
    values: Sequence[Sequence[float | None]],
    words: str,
    palette: Palette,
) -> None:
    counts = sorted({point.subjects for points in lines.values() for point in points})
    for (fit, points), ys in zip(lines.items(), values, strict=True):
        xs = [point.subjects for point, y in zip(points, ys, strict=True) if y is not None]
        style: dict[str, Any] = {"color": hue_of(fit, palette), "markersize": 3.5}
        style |= {"marker": "o"} if fit.endswith("ridge") else {"marker": "s", "linestyle": (0, (3, 2))}
        axes.plot(xs, numbers(ys), label=fit, **style)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    for tick in axes.get_xticklabels():
        tick.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlabel("subjects")
    axes.set_ylabel(words)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines.left.set_visible(False)
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))
