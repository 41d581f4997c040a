"""Rank correlation: Spearman's rho of held-out predictions, output by output."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lincorr.arrays import Array, namespace, scattered
from lincorr.scores.moments import Correlation, varies

_FEWEST = 3  # pairs of values for which a rank correlation is reported


@dataclass(frozen=True, slots=True)
class RankedTruth:
    """True outputs and their ranks, against which the predictions of several maps are ranked.

    Attributes:
        ranks: (n, q) of `average_ranks`.
        varying: (q,) which outputs vary; the ranks of others would be those of rounding errors.
    """

    ranks: Array
    varying: Array

    @classmethod
    def of(cls, true: Array) -> "RankedTruth":
        """Rank float64 outputs (n, q)."""
        return cls(average_ranks(true), varies(true))

    def spearman(self, predicted: Array) -> Array:
        """Return Spearman's rho per column of predictions (n, q), as `spearman` does."""
        xp = namespace(predicted)
        rho = Correlation.of(average_ranks(predicted), self.ranks).pearson()
        return xp.where(self.varying & varies(predicted), rho, xp.full_like(rho, math.nan))


def spearman(predicted: Array, true: Array) -> Array:
    """Return Spearman's rho per column: Pearson's r of the average ranks.

    Unlike r it has no moments that merge over rows: it needs every row of a column at once.

    Args:
        predicted, true: (n, q) float64.

    Returns:
        (q,) float64; NaN where predictions or truths do not vary.
    """
    return RankedTruth.of(true).spearman(predicted)


def average_ranks(values: Array) -> Array:
    """Return the rank of each value in its column, from 1; equal values share their mean rank.

    Args:
        values: (n, q), without NaN.

    Returns:
        (n, q) float64.
    """
    xp = namespace(values)
    turned = xp.asarray(values.T, copy=True)  # a column in one piece: sorting reads it many times
    columns = [turned[j, :] for j in range(values.shape[1])]
    with ThreadPoolExecutor() as pool:  # sorting lets other threads run
        return xp.stack(list(pool.map(_column_ranks, columns))).T


def _column_ranks(column: Array) -> Array:
    xp, n = namespace(column), column.shape[0]
    order = xp.argsort(column, stable=False)
    ordered = xp.take(column, order, axis=0)
    differs = xp.concat([xp.ones_like(order[:1], dtype=xp.bool), ordered[1:] != ordered[:-1]])
    if bool(xp.all(differs)):  # as it is with most logits: each has its place
        return scattered(xp.astype(xp.arange(1, n + 1), xp.float64), order)
    (first,) = xp.nonzero(differs)  # of equal values
    last = xp.concat([first[1:], xp.full_like(first[:1], n)])
    group = xp.cumulative_sum(xp.astype(differs, xp.int64)) - 1
    ranks = xp.take(xp.astype(first + last + 1, xp.float64) / 2, group, axis=0)
    return scattered(ranks, order)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rho of two short lists over the positions where both have a value.

    NaN for fewer than three, or where one side does not vary.
    """
    pairs = np.array([a, b], dtype=np.float64).T
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    return float(spearman(pairs[:, :1], pairs[:, 1:])[0]) if len(pairs) >= _FEWEST else float("nan")
