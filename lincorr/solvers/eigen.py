"""A source's singular values and vectors from a matrix of products: of its columns (gram) or its rows (dual).

Squaring costs half the digits: singular values below ``√(eps · max(n, p)) · σ₁`` are not resolved.
"""

from dataclasses import dataclass

from lincorr.arrays import Array, namespace
from lincorr.solvers.cutoff import Cut, cut
from lincorr.solvers.result import relative


@dataclass(frozen=True, slots=True)
class Eigenvectors:
    """The decomposition of products (m, m).

    Attributes:
        vectors: (m, r) singular vectors of the source: V of products of columns, U of products of rows.
        values: s (r,), descending.
        cut: the rank decision.
        residual: ``‖products V - V diag(s²)‖ / σ₁²``.
    """

    vectors: Array
    values: Array
    cut: Cut
    residual: float


def eigenvectors(
    products: Array,
    shape: tuple[int, int],
    *,
    noise: float,
    rank_limit: int | None = None,
    rcond: float | None = None,
) -> Eigenvectors:
    """Decompose the products ``XcᵀXc`` or ``XcXcᵀ`` (m, m) of a source of `shape` (n, p)."""
    xp = namespace(products)
    eigenvalues, vectors = xp.linalg.eigh(products)  # ascending
    values = xp.sqrt(xp.flip(xp.where(eigenvalues > 0, eigenvalues, xp.zeros_like(eigenvalues))))
    decision = cut(values, shape, noise=noise, rank_limit=rank_limit, rcond=rcond, squared=True)
    values = values[: decision.rank]
    vectors = xp.flip(vectors, axis=1)[:, : decision.rank]
    off = products @ vectors
    off -= vectors * values[None, :] ** 2
    residual = relative(float(xp.linalg.matrix_norm(off)), decision.sigma_1**2)
    return Eigenvectors(vectors, values, decision, residual)
