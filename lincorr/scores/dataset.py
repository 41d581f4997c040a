"""Scores of many relations as one labelled dataset, to select, average and plot."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import xarray

from lincorr.scores.relation_scores import DIRECTIONS, FITS, RANKS, Figure, FitScores, RelationScores

_OF_FIT = (
    *("r", "r_std", "r_low", "r_high", "r2", "spearman", "r_all"),
    *("r_shuffled", "r_shuffled_std", "r_mean_logit", "r_other_prompt", "r_unrelated"),
    *("root_penalty", "rank"),
)


def scores_dataset(relations: Sequence[RelationScores]) -> xarray.Dataset:
    """Return the scores of relations with their labels.

    Args:
        relations: scores as `lincorr evaluate` stores them (`MapStore.load_scores`).

    Returns:
        Variables over (relation, fit), float64, NaN where a relation has no such fit or figure: r and r_std
        (mean and standard deviation over output columns), r_low and r_high (95 % interval), r2, spearman,
        r_all, the controls r_shuffled, r_shuffled_std, r_mean_logit, r_other_prompt and r_unrelated,
        root_penalty (√λ/σ₁) and rank; over (relation, fit, direction, k): hit, hit_low and hit_high
        (95 % interval) and chance; over relation: r_identity. Coordinates: relation, fit, direction, k;
        family, source and target (templates), source_columns and target_columns of each relation.
    """
    figures = {name: np.full((len(relations), len(FITS)), math.nan) for name in _OF_FIT}
    shape = (len(relations), len(FITS), len(DIRECTIONS), len(RANKS))
    hit, chance, low, high = (np.full(shape, math.nan) for _ in range(4))
    for row, relation in enumerate(relations):
        for fit in relation.fits:
            column = FITS.index(fit.name)
            for name in _OF_FIT:
                figures[name][row, column] = _number(getattr(fit, name))
            for at, share, random, ends in _hits(fit):
                hit[row, column, *at], chance[row, column, *at] = share, random
                low[row, column, *at], high[row, column, *at] = ends
    return xarray.Dataset(
        {
            **{name: (("relation", "fit"), values) for name, values in figures.items()},
            "hit": (("relation", "fit", "direction", "k"), hit),
            "hit_low": (("relation", "fit", "direction", "k"), low),
            "hit_high": (("relation", "fit", "direction", "k"), high),
            "chance": (("relation", "fit", "direction", "k"), chance),
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


def _hits(fit: FitScores) -> Iterator[tuple[tuple[int, int], float, float, tuple[float, float]]]:
    """Yield positions along (direction, k) with hit rate, chance, and the hit rate's interval."""
    for i, direction in enumerate(DIRECTIONS):
        for j, k in enumerate(RANKS):
            low, high = fit.hit_interval(direction, k)
            ends = _number(low), _number(high)
            yield (i, j), _number(fit.hit(direction, k)), _number(fit.chance(direction, k)), ends


def _number(value: Figure) -> float:
    return math.nan if value is None else float(value)
