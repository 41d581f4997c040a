"""How many directions of its source does a map need, and how many do several maps need together?

A map ``y ≈ x W + c`` whose source passes through k directions, ``W_k = P W`` with a projection P of rank k,
loses the least predicted variance where P comes from the SVD in the source's own metric. With the covariance
of the source ``Σ = Q Λ Qᵀ``,

    E ‖(x - μ)(W - W_k)‖² = ‖Σ^½ (W - W_k)‖²_F    is least for    W_k = Σ^-½ U_k U_kᵀ Σ^½ W,

U the left singular vectors of ``Σ^½ W`` (Eckart & Young 1936; as a regression of reduced rank: Izenman,
Journal of Multivariate Analysis 5, 1975). Plain singular vectors of W would count directions that the source
never takes.

r of an output does not see its scale: every column of W is divided by the standard deviation of its target,
so that each output counts as much as in the mean r. Maps that share a source space are put side by side,
[W₁ W₂ …], with the mean of their sources' covariances: their common U_k loses the least over all of them.
Each map then reads ``z = x Σ^-½ U_k``, with those weights on z that lose least under its own source's
covariance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.moments import Correlation, CrossMoments

Floats = NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Directions:
    """Directions of a source, most telling first; any first k of them are a restriction to k.

    Attributes:
        read: (k, K) Σ^-½ U: a source (n, k) has the coordinates ``x @ read``, uncorrelated under Σ.
        write: (k, K) Σ^½ U: a map W (k, q) has the weights ``write.T @ W`` in them.
    """

    read: Floats
    write: Floats


def directions(covariance: Floats, maps: Floats) -> Directions:
    """Return the directions that lose least of maps side by side, for every number of them.

    Args:
        covariance: (k, k) Σ of the source, or the mean of several sources'.
        maps: (k, q) weights, each column in units of its target's standard deviation.
    """
    whiten, unwhiten = _roots(covariance)
    left, _, _ = np.linalg.svd(unwhiten.T @ maps, full_matrices=False)
    return Directions(whiten @ left, unwhiten @ left)


def under(found: Directions, covariance: Floats) -> Directions:
    """Return directions, uncorrelated under another Σ (k, k), whose first 1, 2, … span the same spaces."""
    whiten, unwhiten = _roots(covariance)
    left, _ = np.linalg.qr(unwhiten.T @ found.read)
    return Directions(whiten @ left, unwhiten @ left)


def _roots(covariance: Floats) -> tuple[Floats, Floats]:
    """Return ``Q Λ^-½`` and ``Q Λ^½`` (k, r) of the directions that vary."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * _EPS * values[-1]
    root, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return vectors / root, vectors * root


def r_by_rank(found: Directions, weights: Floats, rows: CrossMoments) -> Floats:
    """Return (K,) the mean Pearson r over outputs of a map restricted to the first 1, 2, …, K directions.

    NaN where no output has an r. All are scored from the same moments: the variance of a prediction grows by
    one direction at a time, ``v_k = v_{k-1} + 2 b_k (S_k,<k b_<k) + b_k² S_kk``; cost ``O(K² q)``.

    Args:
        weights: (k, q) the map.
        rows: moments of sources (k) and targets (q) to score on.
    """
    b = found.write.T @ weights
    covariance, products = found.read.T @ rows.xx @ found.read, found.read.T @ rows.xy
    before = np.tril(covariance, -1) @ b
    squares = np.cumsum(b * (2 * before + np.diag(covariance)[:, None] * b), axis=0)
    nothing = np.zeros(weights.shape[1])
    r = Correlation(
        rows.count, nothing, rows.mean_y, squares, np.diag(rows.yy), np.cumsum(b * products, axis=0)
    ).pearson()
    known = ~np.isnan(r)
    counts = known.sum(axis=1)
    return np.where(counts > 0, np.where(known, r, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def fewest(r: Floats, full: Floats, share: float) -> int | None:
    """Return the smallest number of directions that keeps a share of r of every map; None where none does.

    Args:
        r: (maps, K) from `r_by_rank`.
        full: (maps,) r of the whole maps; one that is not positive cannot be kept.
    """
    enough = (r >= share * full[:, None]).all(axis=0) & (full > 0).all()
    return int(np.argmax(enough)) + 1 if enough.any() else None
