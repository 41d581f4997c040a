"""How much scores vary with what was drawn: the mean r with the subjects, hit rates with the known pairs.

The mean r has a bootstrap over held-out rows.

Each replicate draws n of the n held-out rows with replacement. Its r comes from sums of x, y, x², y² and xy
weighted by how often a row was drawn: nothing is fitted again, no row is copied, and one matrix product
serves all replicates. The interval is the percentile interval of the replicates' mean r (Efron & Tibshirani,
An Introduction to the Bootstrap, 1993, 13.3). W and the output columns are held fixed, and rows count as
independent of each other. Hit rates have the same over the sources (or targets) with a known right answer.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.scores.moments import beyond_rounding

SHUFFLES = 8  # one alone is off by as much as their standard deviation: outputs vary together
SAMPLED_OUTPUTS = 512  # all of 49,152 would take minutes for 25,000 held-out rows: each is sorted twice
LEVEL = 0.95
REPLICATES = 400
FEWEST_SHARED = 5  # a share of fewer has no interval: their draws say little of others
_BLOCK_ROWS = 1024
_NOTHING = 1e-12  # a replicate whose variance is this small a part of the column's has no correlation


def row_counts(n: int, replicates: int = REPLICATES, *, seed: int = 0) -> NDArray[np.uint16]:
    """Draw how often each of n rows is in each replicate: (replicates, n) counts, whose rows sum to n."""
    rng = np.random.default_rng(seed)
    counts = np.empty((replicates, n), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return counts


@dataclass(frozen=True, slots=True)
class ReplicatedTruth:
    """The sums of true outputs in every replicate, against which several maps' predictions are scored.

    Attributes:
        counts: (replicates, n) of `row_counts`.
        unit: (n, q) truths about their mean, in units of their own deviation: else the sums would cancel.
        known: (q,) which of them vary.
        mean, square: (replicates, q) means of `unit` and of its square.
    """

    counts: NDArray[np.uint16]
    unit: Array
    known: Array
    mean: Array
    square: Array

    @classmethod
    def of(cls, true: Array, counts: NDArray[np.uint16]) -> "ReplicatedTruth":
        """Take float64 truths (n, q) and the counts (replicates, n) of `row_counts`."""
        known, unit = _in_units(true)
        mean, square = _means(counts, lambda rows: [unit[rows, :], unit[rows, :] ** 2])
        return cls(counts, unit, known, mean, square)

    def pearson(self, predicted: Array) -> Array:
        """Return r of every replicate and column, as `replicated_pearson` does."""
        xp = namespace(predicted)
        varying, unit = _in_units(predicted)

        def parts(rows: slice) -> list[Array]:
            x = unit[rows, :]
            return [x, x * x, x * self.unit[rows, :]]

        x, xx, xy = _means(self.counts, parts)
        variance_x, variance_y = xx - x * x, self.square - self.mean * self.mean
        known = (variance_x > _NOTHING) & (variance_y > _NOTHING) & varying & self.known
        safe = xp.where(known, variance_x * variance_y, xp.ones_like(xx))
        return xp.where(known, (xy - x * self.mean) / xp.sqrt(safe), xp.full_like(xy, math.nan))


def replicated_pearson(predicted: Array, true: Array, counts: NDArray[np.uint16]) -> Array:
    """Return r of every replicate and column.

    Args:
        predicted, true: (n, q) float64.
        counts: (replicates, n) of `row_counts`.

    Returns:
        (replicates, q) float64; NaN where a replicate's predictions or truths do not vary.
    """
    return ReplicatedTruth.of(true, counts).pearson(predicted)


def _in_units(values: Array) -> tuple[Array, Array]:
    """Return which columns vary, and all (n, q) about their mean, those in units of their own deviation."""
    xp = namespace(values)
    mean = xp.mean(values, axis=0)
    centred = values - mean
    square = xp.mean(centred * centred, axis=0)
    known = beyond_rounding(square, mean)
    return known, centred / xp.sqrt(xp.where(known, square, xp.ones_like(square)))


def _means(counts: NDArray[np.uint16], parts: Callable[[slice], list[Array]]) -> list[Array]:
    """Return each replicate's means (replicates, q) of the quantities whose rows (rows, q) `parts` makes."""
    n = counts.shape[1]
    sums: list[Array] = []
    for start in range(0, n, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, n))
        made = parts(rows)
        drawn = like(counts[:, rows].astype(np.float64), made[0])
        found = [drawn @ one for one in made]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
    return [one / n for one in sums]


def mean_interval(replicated: Array, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of the mean r over columns that have an r.

    Args:
        replicated: (replicates, q) of `replicated_pearson`.

    Returns:
        Its ends; NaN where no replicate has an r.
    """
    r = to_host(replicated)
    known = ~np.isnan(r)
    has_any = known.any(axis=1)
    if not has_any.any():
        return math.nan, math.nan
    means = np.mean(r[has_any], axis=1, where=known[has_any])
    low, high = np.quantile(means, _ends(level))
    return float(low), float(high)


def share_intervals(
    found: NDArray[np.bool_], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentile interval of each column's share of true entries.

    Where all of n entries are equal, so is every draw of them, and the interval is a point; the share of all
    others may be about 3/n away (Hanley & Lippman-Hand, JAMA 1983).

    Args:
        found: (n, k).

    Returns:
        Lower and upper ends, (k,) each; NaN for fewer than `FEWEST_SHARED` rows.
    """
    n, k = found.shape
    if n < FEWEST_SHARED:
        return np.full(k, math.nan), np.full(k, math.nan)
    shares = _drawn(n) @ found / n
    low, high = np.quantile(shares, _ends(level), axis=0)
    return low, high


@functools.lru_cache(maxsize=4)
def _drawn(n: int) -> NDArray[np.float64]:
    """Return the counts of n pairs in every replicate: few pairs, asked about in every fit and direction."""
    counts = row_counts(n).astype(np.float64)
    counts.setflags(write=False)
    return counts


def _ends(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]
