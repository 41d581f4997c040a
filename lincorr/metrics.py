"""Scores of a map: Pearson r and R² per output column, mergeable over blocks of rows; hit@k of W."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace

_NOTHING = 1e-12  # a column whose variance is this small a part of its square has no correlation


@dataclass(frozen=True, slots=True)
class Correlation:
    """Moments of predictions x and truths y, per column, that merge exactly up to rounding.

    Attributes:
        count: rows seen.
        mean_x, mean_y: (q,) means.
        xx, yy, xy: (q,) centred sums of squares and products, float64.
    """

    count: int
    mean_x: Array
    mean_y: Array
    xx: Array
    yy: Array
    xy: Array

    @classmethod
    def of(cls, predicted: Array, true: Array) -> "Correlation":
        """Take one block of float64 predictions and truths, (n, q) each."""
        xp = namespace(predicted, true)
        mean_x, mean_y = xp.mean(predicted, axis=0), xp.mean(true, axis=0)
        dx, dy = predicted - mean_x, true - mean_y
        return cls(
            predicted.shape[0],
            mean_x,
            mean_y,
            xp.sum(dx * dx, axis=0),
            xp.sum(dy * dy, axis=0),
            xp.sum(dx * dy, axis=0),
        )

    def merge(self, other: "Correlation") -> "Correlation":
        """Join two blocks' moments (Chan, Golub & LeVeque, 1983)."""
        count = self.count + other.count
        gap_x, gap_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = self.count * other.count / count
        return Correlation(
            count,
            self.mean_x + gap_x * (other.count / count),
            self.mean_y + gap_y * (other.count / count),
            self.xx + other.xx + share * gap_x * gap_x,
            self.yy + other.yy + share * gap_y * gap_y,
            self.xy + other.xy + share * gap_x * gap_y,
        )

    def pearson(self) -> Array:
        """Return r per column; NaN where predictions or truths do not vary."""
        varies_x = self.xx > _NOTHING * self.count * self.mean_x**2
        varies_y = self.yy > _NOTHING * self.count * self.mean_y**2
        return _ratio(self.xy, self.xx, self.yy, varies_x & varies_y)

    def r2(self) -> Array:
        """Return 1 - Σ(y - x)² / Σ(y - ȳ)² per column; NaN where truths do not vary."""
        xp = namespace(self.yy)
        squared = self.xx - 2 * self.xy + self.yy + self.count * (self.mean_y - self.mean_x) ** 2
        varies = self.yy > _NOTHING * self.count * self.mean_y**2
        safe = xp.where(varies, self.yy, xp.ones_like(self.yy))
        return xp.where(varies, 1 - squared / safe, xp.full_like(self.yy, math.nan))


def mean_correlation(predicted: Array, targets: Array, readout: Array | None = None) -> float:
    """Return the mean Pearson r over output columns.

    Args:
        predicted, targets: (n, m) float64.
        readout: (q, m); the outputs are ``targets @ readout.T``. Their correlations then come from three
            m x m moments, ``cov_j = e_jᵀ S e_j``, and no output is formed.
    """
    xp = namespace(predicted, targets)
    if readout is None:
        r = Correlation.of(predicted, targets).pearson()
    else:
        x = predicted - xp.mean(predicted, axis=0)
        y = targets - xp.mean(targets, axis=0)
        xx, yy, xy = (xp.sum((readout @ (a.T @ b)) * readout, axis=1) for a, b in ((x, x), (y, y), (x, y)))
        r = _ratio(xy, xx, yy, (xx > 0) & (yy > 0))
    known = ~xp.isnan(r)
    n_known = int(xp.sum(xp.astype(known, xp.int64)))
    if n_known == 0:
        return math.nan
    return float(xp.sum(xp.where(known, r, xp.zeros_like(r)))) / n_known


def _ratio(xy: Array, xx: Array, yy: Array, varies: Array) -> Array:
    xp = namespace(xy)
    product = xp.where(varies, xx * yy, xp.ones_like(xx))
    return xp.where(varies, xy / xp.sqrt(product), xp.full_like(xy, math.nan))


@dataclass(frozen=True, slots=True)
class Hits:
    """How often a right answer is among the k strongest, out of `of` that could be asked."""

    at: dict[int, float]
    of: int


def hits(
    weights: NDArray[np.floating],
    truth: Mapping[int, Sequence[int]],
    ks: Sequence[int] = (1, 3, 5),
) -> Hits:
    """Return hit@k of rows of W: a right column is among the k largest weights of its row.

    Args:
        weights: (rows, columns).
        truth: row position -> the column positions that are right for it.
    """
    ranks = np.array([_rank(weights[row], list(right)) for row, right in truth.items()])
    return Hits({k: float(np.mean(ranks < k)) if len(ranks) else math.nan for k in ks}, len(ranks))


def _rank(weights: NDArray[np.floating], right: list[int]) -> int:
    """Count the wrong columns that are as strong as the strongest right one; ties count against us."""
    wrong = np.delete(weights, right)
    return int((wrong >= weights[right].max()).sum())
