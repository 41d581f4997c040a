"""Rank correlation: Spearman's rho of held-out predictions, output by output."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lincorr.arrays import Array, namespace, scattered
from lincorr.scores.moments import Correlation

_FEWEST = 3  # pairs of values for which a rank correlation is reported


def spearman(predicted: Array, true: Array) -> Array:
    """Return Spearman's rho per column: Pearson's r of the average ranks.

    Unlike r it has no moments that merge over rows: it needs every row of a column at once.

    Args:
        predicted, true: (n, q) float64.

    Returns:
        (q,) float64; NaN where predictions or truths do not vary.
    """
    xp = namespace(predicted, true)
    rho = Correlation.of(average_ranks(predicted), average_ranks(true)).pearson()
    varies = ~xp.isnan(
        Correlation.of(predicted, true).pearson()
    )  # else the ranks would be those of rounding errors
    return xp.where(varies, rho, xp.full_like(rho, math.nan))


def average_ranks(values: Array) -> Array:
    """Return the rank of each value in its column, from 1; equal values share their mean rank.

    Args:
        values: (n, q), without NaN.

    Returns:
        (n, q) float64.
    """
    xp = namespace(values)
    columns = [values[:, j] for j in range(values.shape[1])]
    with ThreadPoolExecutor() as pool:  # sorting lets other threads run
        return xp.stack(list(pool.map(_column_ranks, columns))).T


def _column_ranks(column: Array) -> Array:
    xp, n = namespace(column), column.shape[0]
    order = xp.argsort(column, stable=False)
    ordered = xp.take(column, order, axis=0)
    differs = xp.concat([xp.ones_like(order[:1], dtype=xp.bool), ordered[1:] != ordered[:-1]])
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
