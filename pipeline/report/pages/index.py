"""What the index page shows: every relation, its fits side by side, and the links to their pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from lincorr.scores.asked import ceiling_share
from lincorr.scores.relation_scores import INFLUENCED_TARGET, FitScores, RelationScores
from lincorr.scores.results import Results
from pipeline.report.names import keys_of
from pipeline.report.plots.figure import Plot
from pipeline.report.plots.growth import growth_plot
from pipeline.report.plots.matrix import matrix_plot
from pipeline.report.plots.operators import operators_plot, rank_plot
from pipeline.report.plots.spectrum import spectrum_plot


@dataclass(frozen=True, slots=True)
class Entry:
    """One relation; its `key` is unique, and safe in an id and in a file name."""

    key: str
    data: RelationScores

    @property
    def ceiling(self) -> float | None:
        """hit@1 of the best of what the model says of its targets when it is asked outright."""
        return ceiling_share(self.data.asked, INFLUENCED_TARGET)

    @property
    def page(self) -> str:
        """The file name of its page, where there are several relations."""
        return f"{self.key}.html"


@dataclass(frozen=True, slots=True)
class IndexView:
    """All relations, ready for the index page.

    Attributes:
        fits: one fit of each kind that any relation has, for name and label.
        warnings: every relation's, one by one.
        plots: name -> plot, drawn for the index itself.
    """

    entries: Sequence[Entry]
    fits: Sequence[FitScores]
    warnings: Sequence[tuple[Entry, str]]
    plots: dict[str, Plot | None]
    key: str = "report"

    def png(self, plot: str) -> str:
        """The file name of a plot."""
        return f"{self.key}-{plot}.png"


def entries_of(relations: Sequence[RelationScores]) -> list[Entry]:
    """Give each relation a unique key (see `keys_of`)."""
    return list(map(Entry, keys_of([relation.name for relation in relations]), relations))


def index_view(results: Results, entries: Sequence[Entry]) -> IndexView:
    """Gather what the index shows."""
    fits: dict[str, FitScores] = {}
    for entry in entries:
        for fit in entry.data.fits:
            fits.setdefault(fit.name, fit)
    warnings = [(entry, words) for entry in entries for words in entry.data.warnings]
    return IndexView(entries, list(fits.values()), warnings, index_plots(results))


def index_plots(results: Results) -> dict[str, Plot | None]:
    """Draw the plots of all relations together: name -> plot, or None for nothing to show."""
    if (study := results.study) is None:
        return {}
    matrices = {
        f"matrix-{number}": matrix_plot(matrix, f"matrix-{number}")
        for number, matrix in enumerate(study.matrices, start=1)
    }
    growth = {
        f"growth-{number}": growth_plot(one.family, one.points, f"growth-{number}")
        for number, one in enumerate(study.growth_by_family, start=1)
    }
    others: dict[str, Plot | None] = {}
    for number, group in enumerate(study.operators or (), start=1):
        for name, draw in (("operators", operators_plot), ("rank", rank_plot)):
            others[f"{name}-{number}"] = draw(group, f"{name}-{number}")
    if study.spectrum is not None:
        others["spectrum"] = spectrum_plot(study.spectrum, "spectrum")
    return matrices | growth | others
