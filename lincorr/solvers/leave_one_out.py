"""Leave-one-out predictions of rows whose source is decomposed, without a fit for each row.

With the centred source ``Xc = U diag(s) Vᵀ`` of n rows, the residual of row i without that row is
``e_i / (1 - h_i)``, ``h_i = 1/n + Σ_j U_ij² s_j² / (s_j² + λ)``; the 1/n is the intercept's share (Hastie,
Tibshirani & Friedman, The Elements of Statistical Learning, 7.10).
"""

import math
from collections.abc import Iterator, Sequence

from lincorr.arrays import Array, namespace

_INTERPOLATED = 1e-9  # 1 - h below this: the row fits itself


def leave_one_out(
    left: Array, targets: Array, values: Array, projected: Array, penalties: Sequence[float], n_rows: int
) -> Iterator[Array]:
    """Yield the predictions (b, m) of rows for every λ; NaN in rows that fit themselves.

    Args:
        left: (b, r) rows of U.
        targets: (b, m) the same rows of some centred targets; projected: (r, m) Uᵀ times all rows of these.
        values: s (r,).
        n_rows: n.
    """
    xp = namespace(left, targets)
    shrinks = [values * values / (values * values + penalty) for penalty in penalties]
    left_over = 1 - 1 / n_rows - (left * left) @ xp.stack(shrinks, axis=1)  # (b, penalties): one product
    left_over = xp.where(left_over < _INTERPOLATED, xp.full_like(left_over, math.nan), left_over)
    for number, shrink in enumerate(shrinks):
        errors = targets - left @ (shrink[:, None] * projected)
        yield targets - errors / left_over[:, number][:, None]
