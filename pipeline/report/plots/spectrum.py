"""Singular values of hidden states on logarithmic axes: all templates side by side, and each by itself."""

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lincorr.scores.study import SingularValues, StateSpectrum
from pipeline.report.plots.figure import Palette, Plot, to_png, to_svg
from pipeline.report.plots.text import minus

_NOTHING = 1e-7  # of the largest: products of states know no smaller ones


def spectrum_plot(spectrum: StateSpectrum, key: str) -> Plot | None:
    """Draw all templates' singular values strongly, each one's lightly, and the line of the power law."""
    together = spectrum.together
    if len(_positive(together)) < 2:
        return None

    def draw(palette: Palette) -> Figure:
        return _draw(spectrum, palette)

    law = together.law
    words = (
        f"Singular values of the hidden states of {len(spectrum.alone)} templates side by side and of each, "
        f"{spectrum.rows:,} subjects, on logarithmic axes. Side by side {together.rank_1:,} exceed 1 % of "
        f"the largest, {together.rank_01:,} exceed 0.1 %."
    )
    if law is not None:
        words += f" Between number {law.first} and {law.last:,} they fall with exponent {law.exponent:.2f}."
    return Plot((to_svg(draw, key, words),), to_png(draw))


def _positive(found: SingularValues) -> list[tuple[int, float]]:
    """Return number and value of those that are not zero but for rounding."""
    pairs = zip(found.numbers, found.values, strict=True)
    return [(number, value) for number, value in pairs if value > _NOTHING * found.values[0]]


def _draw(spectrum: StateSpectrum, palette: Palette) -> Figure:
    figure = Figure((5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(spectrum.alone):
        words = "each template" if number == 0 else "_"
        axes.plot(
            *zip(*_positive(one), strict=True), color=palette.muted, linewidth=0.7, alpha=0.5, label=words
        )
    together = spectrum.together
    points = _positive(together)
    axes.plot(*zip(*points, strict=True), color=palette.vocabulary, linewidth=2.2, label="all side by side")
    if (law := together.law) is not None:
        ends = [law.first, law.last]
        heights = [law.scale * number**-law.exponent for number in ends]
        words = f"exponent {law.exponent:.2f}"
        axes.plot(ends, heights, color=palette.ink, linewidth=1, linestyle=(0, (3, 2)), label=words)
    largest, least = points[0][1], min(value for _, value in points)
    for share, words in ((0.01, "1 %"), (0.001, "0.1 %")):
        if share * largest < least:
            continue
        axes.axhline(share * largest, color=palette.rule, linewidth=0.9, zorder=0)
        axes.text(1, share * largest, f"{words} of the largest", color=palette.muted, fontsize=8, va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(least, 1e-4 * largest))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlabel("number of the singular value")
    axes.set_ylabel("singular value")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, handlelength=2.2, borderaxespad=0)
    return figure
