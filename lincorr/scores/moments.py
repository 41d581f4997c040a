"""Scores of a map: Pearson r and R² per output column, mergeable over blocks of rows; hit@k of W."""

import math
from dataclasses import dataclass

from lincorr.arrays import Array, namespace

_FORM_ROWS = 1024


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


@dataclass(frozen=True, slots=True)
class CrossMoments:
    """Second moments of sources x and targets y that merge over blocks of rows.

    They are enough to score any linear map from x to y, also read out through further columns: no
    prediction is ever formed.

    Attributes:
        count: rows seen.
        mean_x, mean_y: (k,) and (m,) means.
        xx, yy, xy: (k, k), (m, m) and (k, m) centred sums of products, float64.
    """

    count: int
    mean_x: Array
    mean_y: Array
    xx: Array
    yy: Array
    xy: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> "CrossMoments":
        """Take one block of float64 rows, (n, k) and (n, m)."""
        xp = namespace(x, y)
        mean_x, mean_y = xp.mean(x, axis=0), xp.mean(y, axis=0)
        dx, dy = x - mean_x, y - mean_y
        return cls(x.shape[0], mean_x, mean_y, dx.T @ dx, dy.T @ dy, dx.T @ dy)

    def merge(self, other: "CrossMoments") -> "CrossMoments":
        """Join two blocks' moments (Chan, Golub & LeVeque, 1983)."""
        count = self.count + other.count
        gap_x, gap_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = self.count * other.count / count
        return CrossMoments(
            count,
            self.mean_x + gap_x * (other.count / count),
            self.mean_y + gap_y * (other.count / count),
            self.xx + other.xx + share * gap_x[:, None] * gap_x[None, :],
            self.yy + other.yy + share * gap_y[:, None] * gap_y[None, :],
            self.xy + other.xy + share * gap_x[:, None] * gap_y[None, :],
        )

    def correlation(
        self,
        weights: Array,
        intercept: Array,
        readout: Array | None = None,
        offset: Array | None = None,
    ) -> Correlation:
        """Return the moments of predictions and truths of a map, output by output.

        Args:
            weights, intercept: (k, m) and (m,); predictions are ``x @ weights + intercept``.
            readout, offset: (q, m) and (q,); outputs are ``y @ readout.T + offset``. Without, the outputs
                are y. The cost is ``O(q m²)``: ``cov_j = e_jᵀ Wᵀ S W e_j``.
        """
        xp = namespace(self.xx, weights)
        predicted = self.mean_x @ weights + intercept
        xx, yy, xy = weights.T @ self.xx @ weights, self.yy, weights.T @ self.xy
        if readout is None:
            diagonals = [xp.linalg.diagonal(moment) for moment in (xx, yy, xy)]
            return Correlation(self.count, predicted, self.mean_y, *diagonals)
        constant = 0.0 if offset is None else offset
        sums = [_forms(readout, moment) for moment in (xx, yy, xy)]
        means = [readout @ mean + constant for mean in (predicted, self.mean_y)]
        return Correlation(self.count, *means, *sums)


@dataclass(frozen=True, slots=True)
class Truth:
    """True outputs, of which many predictions are scored: what they have in common is found once.

    Attributes:
        centred: (n, m) targets less their means.
        readout: (q, m) with ``outputs = targets @ readout.T``; None where the outputs are the targets.
        varying: (q,) which outputs vary.
        squares: (q,) the outputs' centred sums of squares.
    """

    centred: Array
    readout: Array | None
    varying: Array
    squares: Array

    @classmethod
    def of(cls, targets: Array, readout: Array | None = None) -> "Truth":
        """Take float64 targets (n, m) and a readout (q, m)."""
        xp = namespace(targets)
        mean = xp.mean(targets, axis=0)
        centred = targets - mean
        if readout is None:
            squares = xp.sum(centred * centred, axis=0)
        else:
            mean = readout @ mean
            squares = _forms(readout, centred.T @ centred)
        return cls(centred, readout, squares > _NOTHING * targets.shape[0] * mean**2, squares)

    def mean_pearson(self, predicted: Array) -> float:
        """Return the mean r over outputs of predicted targets (n, m); what does not vary is left out.

        With a readout no output is formed: the cost is ``O((n + q) m²)``.
        """
        xp = namespace(predicted)
        n, mean = predicted.shape[0], xp.mean(predicted, axis=0)
        found = predicted - mean
        if self.readout is None:
            squares = xp.sum(found * found, axis=0)
            products = xp.sum(found * self.centred, axis=0)
        else:
            mean = self.readout @ mean
            squares = _forms(self.readout, found.T @ found)
            products = _forms(self.readout, found.T @ self.centred)
        varying = self.varying & (squares > _NOTHING * n * mean**2)
        return finite_mean(_ratio(products, squares, self.squares, varying))


def _forms(readout: Array, moment: Array) -> Array:
    """Return ``e_jᵀ M e_j`` for every row e_j of a readout (q, m), a block of rows at a time.

    What is multiplied stays in the processor's cache, and no second array of the readout's size is made.
    """
    xp, q = namespace(readout), readout.shape[0]
    blocks = (readout[start : min(start + _FORM_ROWS, q), :] for start in range(0, q, _FORM_ROWS))
    return xp.concat([xp.sum((block @ moment) * block, axis=1) for block in blocks])


def finite_mean(values: Array) -> float:
    """Return the mean of the values that are no NaN; NaN if there is none."""
    xp = namespace(values)
    known = ~xp.isnan(values)
    count = int(xp.sum(xp.astype(known, xp.int64)))
    total = float(xp.sum(xp.where(known, values, xp.zeros_like(values))))
    return total / count if count else math.nan


def _ratio(xy: Array, xx: Array, yy: Array, varies: Array) -> Array:
    xp = namespace(xy)
    product = xp.where(varies, xx * yy, xp.ones_like(xx))
    return xp.where(varies, xy / xp.sqrt(product), xp.full_like(xy, math.nan))
