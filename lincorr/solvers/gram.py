"""Many rows, few columns: from centred second moments that merge over blocks of rows.

With ``Xcᵀ Xc = V diag(s²) Vᵀ`` and ``A = diag(1/s) Vᵀ Xcᵀ Yc`` the problem is reduced (`reduced.py`); the
rows are needed again only for leave-one-out, as ``U = Xc V diag(1/s)``. Cost ``2 n p (p + q)``, memory
``8 p (p + q)`` bytes. Squaring costs half the digits: singular values below ``√(eps · max(n, p)) · σ₁`` are
not resolved. That is coarser than float32's rounding and finer than float16's.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace
from lincorr.scores.moments import Merge
from lincorr.solvers.cutoff import noise_floor
from lincorr.solvers.eigen import eigenvectors
from lincorr.solvers.reduced import LeftOut, Reduced

METHOD = "gram"


@dataclass(frozen=True, slots=True)
class Moments:
    """Centred second moments of a block of source and target rows: all that the decomposition needs.

    Attributes:
        count: n.
        mean_x, mean_y: (p,) and (q,).
        xx, xy: (p, p) and (p, q) centred sums of products, float64.
        largest_row: the largest norm of an uncentred source row.
    """

    count: int
    mean_x: Array
    mean_y: Array
    xx: Array
    xy: Array
    largest_row: float

    @classmethod
    def of(cls, x: Array, y: Array) -> "Moments":
        """Take one block of float64 rows, (n, p) and (n, q)."""
        xp = namespace(x, y)
        mean_x, mean_y = xp.mean(x, axis=0), xp.mean(y, axis=0)
        dx = x - mean_x
        largest = math.sqrt(float(xp.max(xp.sum(x * x, axis=1))))
        return cls(x.shape[0], mean_x, mean_y, dx.T @ dx, dx.T @ (y - mean_y), largest)

    def merge(self, other: "Moments") -> "Moments":
        """Merge the moments of two blocks. The order matters to the last bit: merge in a fixed tree."""
        merge = Merge.of(self, other)
        rows = merge.gap_x[:, None]
        return Moments(
            merge.count,
            merge.mean_x,
            merge.mean_y,
            merge.products(self.xx, other.xx, rows * merge.gap_x[None, :]),  # exactly symmetric
            merge.products(self.xy, other.xy, rows * merge.gap_y[None, :]),
            max(self.largest_row, other.largest_row),
        )


def gram(
    moments: Moments,
    left_out: LeftOut,
    *,
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    storage_eps: float,
    rank_limit: int | None = None,
    rcond: float | None = None,
) -> Reduced:
    """Decompose the moments of rows that were stored with relative precision `storage_eps`."""
    xp = namespace(moments.xx)
    n, p = moments.count, moments.xx.shape[0]
    squares = xp.linalg.diagonal(moments.xx) + n * moments.mean_x**2
    widest = xp.full_like(squares[:1], moments.largest_row)
    found = eigenvectors(
        moments.xx,
        (n, p),
        noise=noise_floor(widest, xp.sqrt(squares), storage_eps),
        rank_limit=rank_limit,
        rcond=rcond,
    )
    return Reduced(
        method=METHOD,
        source_ids=source_ids,
        target_ids=target_ids,
        n_rows=n,
        cut=found.cut,
        values=found.values,
        basis=found.vectors,
        projected=(found.vectors.T @ moments.xy) / found.values[:, None],
        source_mean=moments.mean_x,
        target_mean=moments.mean_y,
        residual=found.residual,
        left_out=left_out,
    )


def left_rows(source: Array, mean: Array, basis: Array, values: Array) -> Array:
    """Return the rows of U (b, r) that belong to source rows (b, p)."""
    return ((source - mean) @ basis) / values[None, :]
