"""Prediction and reading along the ridge penalty."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lincorr.scores.relation_scores import FitScores, PathPoint, RelationScores
from pipeline.report.plots.figure import Draw, Palette, Plot, hue_of, to_png, to_svg
from pipeline.report.plots.text import minus, numbers, signed


def path_plot(relation: RelationScores, key: str) -> Plot | None:
    """Prediction and reading along the penalty: one drawing per fit that has a path."""
    fits = [fit for fit in relation.fits if _path(fit)]
    if not fits:
        return None
    r_limits = _limits([r for fit in fits for point in _path(fit) for r in (point.loo_r, point.r)])

    def drawing(some: Sequence[FitScores]) -> Draw:
        return lambda palette: _draw_path(some, r_limits, palette)

    svgs = tuple(
        to_svg(drawing([fit]), f"{key}-{number}", _describe_path(fit)) for number, fit in enumerate(fits)
    )
    return Plot(svgs, to_png(drawing(fits)))


def _path(fit: FitScores) -> list[PathPoint]:
    """The points that a logarithmic axis can show, by penalty."""
    points = [point for point in fit.path if point.root_penalty]
    return sorted(points, key=lambda point: point.root_penalty or 0.0)


def _limits(values: Sequence[float | None]) -> tuple[float, float]:
    known = numbers(values) or [0.0, 1.0]
    margin = 0.06 * (max(known) - min(known)) or 0.05
    return min(known) - margin, max(known) + margin


def _describe_path(fit: FitScores) -> str:
    points = _path(fit)
    words = [f"Scores along the ridge penalty, {fit.label}, {len(points)} penalties."]
    for name, why in (("reading", "Chosen for reading"), ("best", "Best leave-one-out r")):
        for point in points:
            if point.chosen == name:
                words.append(
                    f"{why}: √λ/σ₁ {point.root_penalty:g}, held-out r {signed(point.r, 3)}, "
                    f"hit@1 {signed(point.hit1, 2)}, hit@5 {signed(point.hit5, 2)}."
                )
    return " ".join(words)


def _draw_path(fits: Sequence[FitScores], r_limits: tuple[float, float], palette: Palette) -> Figure:
    hits = any(hit is not None for f in fits for p in _path(f) for hit in (p.hit1, p.hit5))
    figure = Figure((5 * len(fits), 4 if hits else 2.5), layout="constrained")
    grid = figure.subplots(
        1 + hits, len(fits), sharex="col", squeeze=False, height_ratios=[1.15, 1][: 1 + hits]
    )
    for column, fit in enumerate(fits):
        _draw_r_path(grid[0, column], fit, palette)
        grid[0, column].set_ylim(*r_limits)
        if hits:
            _draw_hit_path(grid[1, column], fit, palette)
        bottom = grid[-1, column]
        bottom.set_xscale("log")
        bottom.xaxis.set_major_formatter(_decade)
        bottom.minorticks_off()
        bottom.set_xlabel("√λ / σ₁")
    return figure


def _draw_r_path(axes: Axes, fit: FitScores, palette: Palette) -> None:
    points = _path(fit)
    hue = hue_of(fit.name, palette)
    _line(axes, points, "r", "held-out r", color=hue, marker="o", markersize=3.5)
    _line(axes, points, "loo_r", "leave-one-out r", color=hue, linestyle=(0, (3, 2)), linewidth=1)
    _mark_chosen(axes, points, palette)
    _finish_path_panel(axes, "Pearson r")
    axes.set_title(fit.label, loc="left", color=palette.ink, pad=29)


def _draw_hit_path(axes: Axes, fit: FitScores, palette: Palette) -> None:
    points = _path(fit)
    hue = hue_of(fit.name, palette)
    hollow = {"markerfacecolor": "none", "linewidth": 1.0}
    _line(axes, points, "hit1", "hit@1", color=hue, marker="o", markersize=3.5)
    _line(axes, points, "hit5", "hit@5", color=hue, marker="s", markersize=3.5, **hollow)
    _mark_chosen(axes, points, palette, named=False)
    _finish_path_panel(axes, "hit rate")
    axes.set_ylim(-0.03, 1.03)


def _line(axes: Axes, points: Sequence[PathPoint], name: str, words: str, **style: Any) -> None:
    ys = [math.nan if (y := getattr(point, name)) is None else y for point in points]
    if any(map(math.isfinite, ys)):
        axes.plot(numbers([point.root_penalty for point in points]), ys, label=words, **style)


def _mark_chosen(axes: Axes, points: Sequence[PathPoint], palette: Palette, *, named: bool = True) -> None:
    """Vertical lines that the legend names: labels beside them could hide a curve."""
    styles: tuple[tuple[str, str, Any], ...] = (
        ("reading", "λ for reading", "solid"),
        ("best", "λ of best leave-one-out r", (0, (1, 1.5))),
    )
    for name, words, dashes in styles:
        for point in points:
            if point.chosen == name and point.root_penalty is not None:
                shown = words if named else "_"
                axes.axvline(
                    point.root_penalty,
                    color=palette.ink,
                    linewidth=0.9,
                    linestyle=dashes,
                    label=shown,
                    zorder=1,
                )


def _finish_path_panel(axes: Axes, words: str) -> None:
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines.left.set_visible(False)
    axes.set_ylabel(words)
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=2,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=2.2,
            labelspacing=0.25,
            columnspacing=1.6,
        )


def _decade(value: float, _: object = None) -> str:
    """0.01, 0.1, 1; powers of ten below that: short labels without mathematical text."""
    if value >= 1e-3:
        return f"{value:g}"
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "10" + f"{math.floor(math.log10(value) + 0.5)}".translate(superscript)
