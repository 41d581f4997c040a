"""Few rows, many columns: from the n x n matrix of products between rows.

With ``K = Xc Xcᵀ = U diag(s²) Uᵀ`` the problem is reduced (`reduced.py`) with ``V = Xcᵀ U diag(1/s)``, made
panel by panel of columns, and ``A = Uᵀ Yc``. Cost ``n² p + 2 n p r``, memory ``8 n²`` bytes and a panel. What
`eigen.py` says of small singular values holds.
"""

from lincorr.arrays import Array, namespace

METHOD = "dual"


def double_centre(products: Array) -> Array:
    """Return K (n, n) of rows whose mean was taken out only to rounding: ``(I - 11ᵀ/n) K (I - 11ᵀ/n)``."""
    xp = namespace(products)
    by_row = xp.mean(products, axis=1, keepdims=True)
    return products - by_row - by_row.T + xp.mean(by_row)


def basis_panel(panel: Array, left: Array, values: Array) -> Array:
    """Return the rows of V (b, r) that belong to centred source columns (n, b)."""
    return (panel.T @ left) / values[None, :]
