"""What the page of a relation shows, derived from its scores alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from lincorr.scores.asked import Ceiling, ceiling, share_known
from lincorr.scores.relation_scores import (
    DIRECTIONS,
    INFLUENCED_TARGET,
    RANKS,
    ColumnScore,
    FitScores,
    HubTable,
    RelationScores,
)
from pipeline.report.pages.format import percent
from pipeline.report.plots.bipartite import bipartite_plot
from pipeline.report.plots.figure import Plot
from pipeline.report.plots.path import path_plot
from pipeline.report.plots.pearson import pearson_plot
from pipeline.report.plots.weights import weight_map, weights_plot

PAPER_FIT, READING_FIT = "domain", "vocabulary-ridge"
"""The two fits of the headline: the paper's method, and the one whose W is best to read."""

MAX_COLUMN_ROWS = 1000
"""Rows of the table of output columns; a full vocabulary would make the page unusable."""

EXTREMES = 8


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """An output column, and its r under each fit."""

    token: str
    r: list[float | None]


@dataclass(frozen=True, slots=True)
class Extremes:
    """The output columns that a fit predicts best, and those that it predicts worst, worst first."""

    fit: FitScores
    best: list[ColumnScore]
    worst: list[ColumnScore]


@dataclass(frozen=True, slots=True)
class RelationView:
    """One relation, ready for its page."""

    key: str
    data: RelationScores
    plots: dict[str, Plot | None]
    paper: FitScores | None
    reading: FitScores | None
    meaning: str
    columns: list[ColumnRow]
    extremes: Extremes | None
    map_note: str
    hubs: list[tuple[FitScores, HubTable]]
    """Each fit that was read, with its hubs."""

    def png(self, plot: str) -> str:
        return f"{self.key}-{plot}.png"

    @property
    def ceilings(self) -> dict[str, Ceiling | None]:
        """The best of what the model says when it is asked outright, in both directions."""
        return {direction: ceiling(self.data.asked, direction) for direction in DIRECTIONS}

    def share_known(self, fit: FitScores, direction: str) -> float | None:
        """The share of it that a fit is read for."""
        return share_known(fit.hit(direction, 1), self.ceilings[direction])

    @property
    def best(self) -> dict[str, float]:
        """The best score of each kind among the fits, to set in bold."""
        fits = self.data.fits
        scores = {name: [getattr(fit, name) for fit in fits] for name in ("r", "r2", "r_all", "spearman")}
        for direction in DIRECTIONS:
            for rank in RANKS:
                scores[f"{direction} {rank}"] = [fit.hit(direction, rank) for fit in fits]
        known = {name: [v for v in values if v is not None] for name, values in scores.items()}
        return {name: max(values) for name, values in known.items() if len(values) > 1}


def relation_view(relation: RelationScores, key: str) -> RelationView:
    """Draw a relation's plots and write what its page says; `key` begins the names of its files."""
    shown = weight_map(relation.heatmap)
    paper, reading = relation.fit(PAPER_FIT), relation.fit(READING_FIT)
    return RelationView(
        key=key,
        data=relation,
        plots={
            "pearson": pearson_plot(relation, f"{key}-pearson"),
            "path": path_plot(relation, f"{key}-path"),
            "bipartite": bipartite_plot(relation, f"{key}-bipartite"),
            "weights": weights_plot(relation, f"{key}-weights"),
        },
        paper=paper,
        reading=reading,
        meaning=_meaning(relation, paper, reading),
        columns=_column_rows(relation),
        extremes=_extremes([reading, paper, *relation.fits]),
        map_note=shown.left_out if shown else "",
        hubs=_hubs(relation),
    )


def _meaning(relation: RelationScores, paper: FitScores | None, reading: FitScores | None) -> str:
    """The headline in plain words; unknown figures are left out."""
    source, target = relation.source.template, relation.target.template
    words = (
        f"Mean r says how well the {target} logits follow from the {source} logits through one "
        "matrix, on subjects that the fit has not seen"
    )
    shares = [(fit, fit.hit(INFLUENCED_TARGET, 1)) for fit in (paper, reading) if fit]
    known = [f"{percent(share)} ({fit.label})" for fit, share in shares if share is not None]
    if not known:
        return f"{words}."
    return (
        f"{words}; hit@1 says how often the largest weight of a well-known {source} is on "
        f"a {target} that is true of it: {' and '.join(known)}."
    )


def _hubs(relation: RelationScores) -> list[tuple[FitScores, HubTable]]:
    """The hubs of each fit that was read."""
    return [(fit, relation.hubs[fit.name]) for fit in relation.fits if fit.name in relation.hubs]


def _column_rows(relation: RelationScores) -> list[ColumnRow]:
    """Joined by token and occurrence, as two columns may share their text."""
    rows: dict[tuple[str, int], list[float | None]] = {}
    fits = relation.fits
    for number, fit in enumerate(fits):
        seen: dict[str, int] = {}
        for score in fit.r_by_target:
            token = score.token
            seen[token] = seen.get(token, 0) + 1
            row = rows.setdefault((token, seen[token]), [None] * len(fits))
            row[number] = score.r
    return [ColumnRow(token, rs) for (token, _), rs in rows.items()][:MAX_COLUMN_ROWS]


def _extremes(fits: Iterable[FitScores | None]) -> Extremes | None:
    """The extremes of the first fit with scores; None where they are too few."""
    for fit in fits:
        scores = [column for column in fit.r_by_target if column.r is not None] if fit else []
        if fit and len(scores) > 1:
            ranked = sorted(scores, key=lambda column: column.r or 0.0, reverse=True)
            shown = min(EXTREMES, len(ranked) // 2)
            return Extremes(fit, ranked[:shown], ranked[: -shown - 1 : -1])
    return None
