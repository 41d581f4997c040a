"""Histograms of held-out Pearson r over the output columns of every fit."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lincorr.scores.relation_scores import FitScores, RelationScores
from pipeline.report.plots.figure import Palette, Plot, hue_of, to_png, to_svg
from pipeline.report.plots.text import counted, minus, numbers, signed


def pearson_plot(relation: RelationScores, key: str) -> Plot | None:
    """Held-out Pearson r over the output columns: one histogram per fit on one axis."""
    scores = [numbers([column.r for column in fit.r_by_target]) for fit in relation.fits]
    shown = [(fit, rs) for fit, rs in zip(relation.fits, scores, strict=True) if rs]
    if not shown:
        return None
    description = "Histograms of held-out Pearson r over output columns, one for each fit."
    for fit, rs in shown:
        description += (
            f" {fit.label}: {counted(len(rs), 'column')} from {signed(min(rs), 2)} to "
            f"{signed(max(rs), 2)}, mean {signed(fit.r, 3)}."
        )

    def draw(palette: Palette) -> Figure:
        return _draw_pearson(shown, palette)

    return Plot((to_svg(draw, key, description),), to_png(draw))


def _draw_pearson(shown: Sequence[tuple[FitScores, list[float]]], palette: Palette) -> Figure:
    edges = _bin_edges([r for _, rs in shown for r in rs])
    figure = Figure((5, 0.5 + 0.72 * len(shown)), layout="constrained")
    rows = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (fit, rs) in zip(rows, shown, strict=True):
        counts = [0] * (len(edges) - 1)
        for r in rs:
            counts[min(int((r - edges[0]) / (edges[1] - edges[0])), len(counts) - 1)] += 1
        ridge = fit.name.endswith("ridge")
        hue = hue_of(fit.name, palette)
        axes.stairs(counts, edges, fill=True, color=hue, alpha=0.9 if ridge else 0.45, linewidth=0)
        _mark_mean(axes, fit, palette)
        axes.set_title(fit.label, loc="left", color=palette.ink, pad=4)
        axes.spines.left.set_visible(False)
        axes.set_yticks([])
        axes.tick_params(length=0)
    rows[-1].tick_params(length=3)
    rows[-1].set_xlim(edges[0], edges[-1])
    rows[-1].xaxis.set_major_formatter(lambda value, _: minus(f"{value:.2g}"))
    rows[-1].set_xlabel("held-out Pearson r of an output column")
    return figure


def _mark_mean(axes: Axes, fit: FitScores, palette: Palette) -> None:
    if fit.r is None:
        return
    axes.axvline(fit.r, color=palette.ink, linewidth=1)
    axes.set_title(f"mean {signed(fit.r, 3)}", loc="right", color=palette.muted, pad=4)


def _bin_edges(values: Sequence[float]) -> list[float]:
    """About forty equal bins on round numbers that hold every value."""
    low, high = math.floor(min(values) * 20) / 20, math.ceil(max(values) * 20) / 20
    high = max(high, low + 0.05)
    width = next(w for w in (0.0025, 0.005, 0.01, 0.02, 0.05) if (high - low) / w <= 45)
    count = max(1, round((high - low) / width))
    return [low + (high - low) * step / count for step in range(count + 1)]
