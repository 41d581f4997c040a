"""Over relations: does generalisation of edits go with precision of W (hit@1), or with r alone?"""

import math
from collections.abc import Sequence

from lincorr.relations.paper import paper_figures
from lincorr.scores.experiments import EditScores
from lincorr.scores.ranks import rank_correlation
from lincorr.scores.relation_scores import INFLUENCED_TARGET, Figure, FitScores, RelationScores
from lincorr.scores.study import EditedFit, EditedRelation, Generalisation, RankCorrelations

FEWEST_EDITS = 5  # that took, of a relation whose success rate counts
_FEWEST_PARTIAL = 4  # relations: of three, what one ranking leaves of two others is always on a line
_PAPER_MODEL = "llama-3-8b"


def across_relations(edited: Sequence[EditScores], scores: Sequence[RelationScores]) -> Generalisation:
    """Compare the generalisation of edits with hit@1 and r.

    Args:
        edited: the edits of each relation.
        scores: the scores of the maps of the same relations, in any order, and perhaps of others.

    Returns:
        A row for each relation, and for each fit Spearman's rho, over the relations of which `FEWEST_EDITS`
        edits or more took, of the success rate with hit@1, with r, and with the chance level (1 over the
        number of targets): a relation with few targets does well in everything. Hence also the partial rank
        correlations given chance, of four relations or more. Under `paper` the same of the paper's relations.
    """
    by_name = {relation.name: relation for relation in scores}
    rows = [_row(edits, by_name[edits.relation].fits) for edits in edited]
    return Generalisation(tuple(rows), _by_fit(rows), across_paper())


def across_paper() -> Generalisation:
    """Return the same of the paper's relations that have generalisation, hit@1 and r (T5, T2, T4)."""
    rows = []
    for name in dict.fromkeys(figure.relation for figure in paper_figures()):
        of = {f.measure: f.value for f in reversed(paper_figures(name)) if f.model == _PAPER_MODEL}
        if {"generalisation", "influenced target@1", "pearson"} <= set(of):
            fit = EditedFit(hit1=of["influenced target@1"], r=of["pearson"])
            rows.append(EditedRelation(name, of["generalisation"], of["random"], None, {"domain": fit}))
    return Generalisation(tuple(rows), _by_fit(rows))


def _row(edits: EditScores, fits: Sequence[FitScores]) -> EditedRelation:
    of_fits = {fit.name: EditedFit(hit1=fit.hit(INFLUENCED_TARGET, 1), r=fit.r) for fit in fits}
    return EditedRelation(edits.relation, edits.success, edits.random, edits.taken, of_fits)


def _by_fit(rows: Sequence[EditedRelation]) -> dict[str, RankCorrelations]:
    fits = dict.fromkeys(fit for row in rows for fit in row.fits)
    return {fit: _correlations(rows, fit) for fit in fits}


def _correlations(rows: Sequence[EditedRelation], fit: str) -> RankCorrelations:
    enough = [row for row in rows if row.edits is None or row.edits >= FEWEST_EDITS]
    figures = [
        (row.success, row.random, row.fits[fit].hit1, row.fits[fit].r) for row in enough if fit in row.fits
    ]
    known = [[x for x in row if x is not None] for row in figures if None not in row]
    success, random, hit1, r = zip(*known, strict=True) if known else ((), (), (), ())
    chance = rank_correlation(random, success)

    def given_random(values: Sequence[float], rho: float) -> Figure:
        if len(known) < _FEWEST_PARTIAL:
            return None
        return _known(partial_correlation(rho, rank_correlation(values, random), chance))

    of_hit1, of_r = rank_correlation(hit1, success), rank_correlation(r, success)
    return RankCorrelations(
        relations=len(known),
        random=_known(chance),
        hit1=_known(of_hit1),
        hit1_given_random=given_random(hit1, of_hit1),
        r=_known(of_r),
        r_given_random=given_random(r, of_r),
    )


def _known(value: float) -> Figure:
    return None if math.isnan(value) else value


def partial_correlation(ab: float, ac: float, bc: float) -> float:
    """Return the correlation of a with b given c, from those of the pairs; NaN where c determines a or b."""
    rest = (1 - ac**2) * (1 - bc**2)
    return (ab - ac * bc) / math.sqrt(rest) if rest > 0 else math.nan
