"""Scores of many relations as one labelled dataset, to select, average and plot."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import xarray

from lincorr.scores.asked import ceiling_share
from lincorr.scores.faithfulness import FAITHFULNESS, faithfulness_figures
from lincorr.scores.relation_scores import DIRECTIONS, FITS, RANKS, Figure, FitScores, RelationScores

_OF_FIT = (
    *("r", "r_std", "r_low", "r_high", "r2", "spearman", "r_all"),
    *("r_shuffled", "r_shuffled_std", "r_mean_logit", "r_other_prompt", "r_unrelated"),
    *("root_penalty", "rank"),
)
_OF_HITS = ("hit", "hit_low", "hit_high", "chance", "hit_as_fitted")


def scores_dataset(relations: Sequence[RelationScores]) -> xarray.Dataset:
    """Return the scores of relations with their labels.

    Args:
        relations: scores as `lincorr evaluate` stores them (`MapStore.load_scores`).

    Returns:
        Variables over (relation, fit), float64, NaN where a relation has no such fit or figure: r and r_std
        (mean and standard deviation over output columns), r_low and r_high (95 % interval), r2, spearman,
        r_all, the controls r_shuffled, r_shuffled_std, r_mean_logit, r_other_prompt and r_unrelated,
        root_penalty (√λ/σ₁), rank, and those of `lincorr.scores.faithfulness.FAITHFULNESS`; over (relation,
        fit, direction, k): hit, hit_low and hit_high (95 % interval), chance, and hit_as_fitted (rows of W
        not centred); over (relation, direction): ceiling (hit@1 of the model asked outright,
        `lincorr.scores.asked`); over relation: r_identity.
        Coordinates: relation, fit, direction, k; family, source and target (templates), source_columns and
        target_columns of each relation.
    """
    names = (*_OF_FIT, *FAITHFULNESS)
    figures = {name: np.full((len(relations), len(FITS)), math.nan) for name in names}
    shape = (len(relations), len(FITS), len(DIRECTIONS), len(RANKS))
    of_hits = {name: np.full(shape, math.nan) for name in _OF_HITS}
    for row, relation in enumerate(relations):
        for fit in relation.fits:
            column = FITS.index(fit.name)
            found = {name: getattr(fit, name) for name in _OF_FIT}
            found |= faithfulness_figures(fit.faithfulness, fit.faithfulness_all)
            for name in names:
                figures[name][row, column] = _number(found[name])
            for at, shares in _hits(fit):
                for name, share in zip(_OF_HITS, shares, strict=True):
                    of_hits[name][row, column, *at] = _number(share)
    return xarray.Dataset(
        {
            **{name: (("relation", "fit"), values) for name, values in figures.items()},
            **{name: (("relation", "fit", "direction", "k"), values) for name, values in of_hits.items()},
            "ceiling": (
                ("relation", "direction"),
                [[_number(ceiling_share(one.asked, way)) for way in DIRECTIONS] for one in relations],
            ),
            "r_identity": (
                "relation",
                [_number(relation.identity.r) for relation in relations],
            ),
        },
        {
            "relation": [relation.name for relation in relations],
            "fit": list(FITS),
            "direction": list(DIRECTIONS),
            "k": list(RANKS),
            "family": ("relation", [relation.family for relation in relations]),
            **{
                role: ("relation", [relation.side(role).template for relation in relations])
                for role in ("source", "target")
            },
            **{
                f"{role}_columns": ("relation", [relation.side(role).columns for relation in relations])
                for role in ("source", "target")
            },
        },
    )


def _hits(fit: FitScores) -> Iterator[tuple[tuple[int, int], tuple[Figure, ...]]]:
    """Yield positions along (direction, k), and the shares there in the order of `_OF_HITS`."""
    for i, direction in enumerate(DIRECTIONS):
        for j, k in enumerate(RANKS):
            low, high = fit.hit_interval(direction, k)
            random, as_fitted = fit.chance(direction, k), fit.hit_as_fitted(direction, k)
            yield (i, j), (fit.hit(direction, k), low, high, random, as_fitted)


def _number(value: Figure) -> float:
    return math.nan if value is None else float(value)
