"""Few rows, many columns: from the n x n matrix of products between rows.

With ``K = Xc Xcᵀ = U diag(s²) Uᵀ`` the problem is reduced (`reduced.py`) with ``V = Xcᵀ U diag(1/s)``, made
panel by panel of columns, and ``A = Uᵀ Yc``. Cost ``n² p + 2 n p r``, memory ``8 n²`` bytes and a panel. As
in `gram.py`, singular values below ``√(eps · max(n, p)) · σ₁`` are not resolved.
"""

from dataclasses import dataclass

from lincorr.arrays import Array, namespace
from lincorr.solvers.cutoff import Cut, cut
from lincorr.solvers.result import relative

METHOD = "dual"


@dataclass(frozen=True, slots=True)
class Left:
    """The decomposition of K.

    Attributes:
        left: U (n, r).
        values: s (r,), descending.
        cut: the rank decision.
        residual: ‖K U - U diag(s²)‖ / σ₁².
    """

    left: Array
    values: Array
    cut: Cut
    residual: float


def double_centre(products: Array) -> Array:
    """Return K (n, n) of rows whose mean was taken out only to rounding: ``(I - 11ᵀ/n) K (I - 11ᵀ/n)``."""
    xp = namespace(products)
    by_row = xp.mean(products, axis=1, keepdims=True)
    return products - by_row - by_row.T + xp.mean(by_row)


def decompose(
    products: Array,
    n_columns: int,
    *,
    noise: float,
    rank_limit: int | None = None,
    rcond: float | None = None,
) -> Left:
    """Decompose K (n, n), the products of centred rows of p = `n_columns` columns."""
    xp = namespace(products)
    eigenvalues, vectors = xp.linalg.eigh(products)  # ascending
    values = xp.sqrt(xp.flip(xp.where(eigenvalues > 0, eigenvalues, xp.zeros_like(eigenvalues))))
    n = products.shape[0]
    decision = cut(values, (n, n_columns), noise=noise, rank_limit=rank_limit, rcond=rcond, squared=True)
    values = values[: decision.rank]
    left = xp.flip(vectors, axis=1)[:, : decision.rank]
    off = float(xp.linalg.matrix_norm(products @ left - left * values[None, :] ** 2))
    return Left(left, values, decision, relative(off, decision.sigma_1**2))


def basis_panel(panel: Array, left: Array, values: Array) -> Array:
    """Return the rows of V (b, r) that belong to centred source columns (n, b)."""
    return (panel.T @ left) / values[None, :]
