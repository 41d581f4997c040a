"""Every prompt of a family against every other: held-out r as a map of colours."""

from matplotlib.figure import Figure

from lincorr.scores.study import Matrix
from pipeline.report.plots.cells import Panel, draw_cells
from pipeline.report.plots.figure import Palette, Plot, to_png, to_svg
from pipeline.report.plots.text import label, numbers, signed


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

    panel = Panel(rows, "source prompt", "target prompt")

    def draw(palette: Palette) -> Figure:
        return draw_cells(names, [panel], palette)

    return Plot((to_svg(draw, key, description, tooltips),), to_png(draw))
