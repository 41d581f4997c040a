"""Scores of a map from moments: Pearson r and R² per output column, mergeable over blocks of rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lincorr.arrays import Array, namespace

_FORM_ROWS = 1024
FORM_COLUMNS = 128
_NOTHING = 1e-12  # a column whose variance is smaller than this share of its squared mean has no correlation


class _Counted(Protocol):
    """Moments of a block of rows: their count and the means of both sides."""

    @property
    def count(self) -> int: ...
    @property
    def mean_x(self) -> Array: ...
    @property
    def mean_y(self) -> Array: ...


@dataclass(frozen=True, slots=True)
class Merge:
    """The merge of the moments of two blocks of rows a and b, of whatever products they hold.

    After Chan, Golub & LeVeque, The American Statistician 37 (1983). It is associative up to rounding, so
    whoever needs the same bits again merges in a fixed order.

    Attributes:
        count: n = n_a + n_b.
        mean_x, mean_y: of both blocks, (k,) and (m,).
        gap_x, gap_y: mean of b less mean of a.
        share: n_a n_b / n.
    """

    count: int
    mean_x: Array
    mean_y: Array
    gap_x: Array
    gap_y: Array
    share: float

    @classmethod
    def of(cls, a: _Counted, b: _Counted) -> "Merge":
        """Merge the counts and means."""
        count = a.count + b.count
        gap_x, gap_y = b.mean_x - a.mean_x, b.mean_y - a.mean_y
        part = b.count / count
        return cls(
            count,
            a.mean_x + gap_x * part,
            a.mean_y + gap_y * part,
            gap_x,
            gap_y,
            a.count * b.count / count,
        )

    def products(self, a: Array, b: Array, *gaps: Array) -> Array:
        """Merge centred sums of products: ``a + b + share · gap · gap``, multiplied from left to right."""
        shift: Array = self.share
        for gap in gaps:
            shift = shift * gap
        shift += a + b  # in place: sums may be as large as memory
        return shift


@dataclass(frozen=True, slots=True)
class Correlation:
    """Moments of predictions x and truths y, column by column.

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
        """Merge the moments of two blocks."""
        merge = Merge.of(self, other)
        return Correlation(
            merge.count,
            merge.mean_x,
            merge.mean_y,
            merge.products(self.xx, other.xx, merge.gap_x, merge.gap_x),
            merge.products(self.yy, other.yy, merge.gap_y, merge.gap_y),
            merge.products(self.xy, other.xy, merge.gap_x, merge.gap_y),
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
    """Second moments of sources x and targets y.

    They suffice to score any linear map from x to y, also through a further readout, without forming a
    prediction.

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
        """Merge the moments of two blocks."""
        merge = Merge.of(self, other)
        rows_x, rows_y = merge.gap_x[:, None], merge.gap_y[:, None]
        columns_x, columns_y = merge.gap_x[None, :], merge.gap_y[None, :]
        return CrossMoments(
            merge.count,
            merge.mean_x,
            merge.mean_y,
            merge.products(self.xx, other.xx, rows_x, columns_x),
            merge.products(self.yy, other.yy, rows_y, columns_y),
            merge.products(self.xy, other.xy, rows_x, columns_y),
        )

    def through(self, turn: Array, readout: Array, offset: Array | None = None) -> "CrossMoments":
        """Return the moments of ``x @ turn`` and of the outputs ``y @ readout.T + offset``.

        Args:
            turn: (k, j).
            readout, offset: (q, m) and (q,).
        """
        mean_y = readout @ self.mean_y
        return CrossMoments(
            self.count,
            self.mean_x @ turn,
            mean_y if offset is None else mean_y + offset,
            turn.T @ self.xx @ turn,
            readout @ self.yy @ readout.T,
            turn.T @ self.xy @ readout.T,
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
            readout, offset: (q, m) and (q,); outputs are ``y @ readout.T + offset``, or y without a readout.
                Products are in the readout's precision: in float32 r is off by some 1e-5 at most.
                The cost is ``O(q m²)``: ``cov_j = e_jᵀ Wᵀ S W e_j``.
        """
        (found,) = self.correlations([(weights, intercept)], readout, offset)
        return found

    def correlations(
        self,
        maps: Sequence[tuple[Array, Array]],
        readout: Array | None = None,
        offset: Array | None = None,
    ) -> list[Correlation]:
        """Return the moments of several maps' predictions, as `correlation` does; the readout is read once.

        Args:
            maps: weights and intercept of each.
        """
        means = [self.mean_x @ weights + intercept for weights, intercept in maps]
        if readout is None:
            xp = namespace(self.xx)
            yy = xp.linalg.diagonal(self.yy)
            sums = [
                (xp.sum(weights * (self.xx @ weights), axis=0), yy, xp.sum(weights * self.xy, axis=0))
                for weights, _ in maps
            ]
            return [
                Correlation(self.count, mean, self.mean_y, *of_map)
                for mean, of_map in zip(means, sums, strict=True)
            ]
        moments = [moment for w, _ in maps for moment in (w.T @ self.xx @ w, w.T @ self.xy)]
        yy, *rest = _forms(readout, self.yy, *moments)
        true, *predicted = (_outputs(readout, offset, mean) for mean in (self.mean_y, *means))
        return [
            Correlation(self.count, mean, true, xx, yy, xy)
            for mean, xx, xy in zip(predicted, rest[::2], rest[1::2], strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Truth:
    """True outputs against which many predictions are scored; what these share is computed once.

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
            (squares,) = _forms(readout, centred.T @ centred)
        return cls(centred, readout, squares > _NOTHING * targets.shape[0] * mean**2, squares)

    def mean_pearson(self, predicted: Array) -> float:
        """Return the mean r over the outputs of predicted targets (n, m), without outputs that do not vary.

        With a readout no outputs are formed, at a cost of ``O((n + q) m²)``.
        """
        xp = namespace(predicted)
        n, mean = predicted.shape[0], xp.mean(predicted, axis=0)
        found = predicted - mean
        if self.readout is None:
            squares = xp.sum(found * found, axis=0)
            products = xp.sum(found * self.centred, axis=0)
        else:
            mean = self.readout @ mean
            squares, products = _forms(self.readout, found.T @ found, found.T @ self.centred)
        varying = self.varying & (squares > _NOTHING * n * mean**2)
        return finite_mean(_ratio(products, squares, self.squares, varying))


def varies(values: Array) -> Array:
    """Return which columns (q,) of float64 values (n, q) vary by more than rounding."""
    xp = namespace(values)
    mean = xp.mean(values, axis=0)
    found = values - mean
    return beyond_rounding(xp.mean(found * found, axis=0), mean)


def beyond_rounding(variance: Array, mean: Array) -> Array:
    """Return which columns' variances (q,) are more than rounding of values about their means (q,)."""
    return variance > _NOTHING * mean**2


def _outputs(readout: Array, offset: Array | None, targets: Array) -> Array:
    """Return the outputs (q,) of targets (m,), with products in the readout's precision."""
    xp = namespace(readout)
    outputs = xp.astype(readout @ xp.astype(targets, readout.dtype), xp.float64)
    return outputs if offset is None else outputs + offset


def _forms(readout: Array, *moments: Array) -> list[Array]:
    """Return (q,) ``e_jᵀ M e_j`` for every row e_j of a readout (q, m) and each M, a block of rows at a time.

    Blocks stay in the processor's cache, and no second array of the readout's size is allocated. Half of
    each M is added to the other, so that products leave out a triangle of zeros, a panel of columns at a
    time. Products are in the readout's precision, their sums in float64.
    """
    xp, (q, m) = namespace(readout), readout.shape
    upper = [xp.astype(xp.triu(M) + xp.triu(M.T, k=1), readout.dtype) for M in moments]
    panels = [slice(start, min(start + FORM_COLUMNS, m)) for start in range(0, m, FORM_COLUMNS)]
    stacked = [xp.stack([half[: panel.stop, panel] for half in upper]) for panel in panels]
    found = []
    for start in range(0, q, _FORM_ROWS):
        block = readout[start : min(start + _FORM_ROWS, q), :]
        forms = 0.0
        for panel, halves in zip(panels, stacked, strict=True):
            products = (block[:, : panel.stop] @ halves) * block[:, panel]
            forms = forms + xp.sum(products, axis=2, dtype=xp.float64)
        found.append(forms)
    forms = xp.concat(found, axis=1)
    return [forms[i, :] for i in range(len(moments))]


def finite_mean(values: Array) -> float:
    """Return the mean of the non-NaN values; NaN if there are none."""
    xp = namespace(values)
    known = ~xp.isnan(values)
    count = int(xp.sum(xp.astype(known, xp.int64)))
    total = float(xp.sum(xp.where(known, values, xp.zeros_like(values))))
    return total / count if count else math.nan


def deviation(values: Array) -> float | None:
    """Return the standard deviation of the non-NaN values; None for fewer than two, which have none."""
    xp = namespace(values)
    known = values[~xp.isnan(values)]
    return float(xp.std(known)) if known.shape[0] > 1 else None


def _ratio(xy: Array, xx: Array, yy: Array, varies: Array) -> Array:
    xp = namespace(xy)
    product = xp.where(varies, xx * yy, xp.ones_like(xx))
    return xp.where(varies, xy / xp.sqrt(product), xp.full_like(xy, math.nan))
