"""Logits of any width whose rank is known to be small: a randomised range finder, two passes over X.

    pass 1    Q = orth(Xc Ω),  Ω (p, l) Gaussian, l = d + 64        (power step: again with Ω = V)
    pass 2    C = Qᵀ Xc (l, p),   D = Qᵀ Yc (l, q)

From ``Cᵀ = V diag(s) Ûᵀ`` follow V, s and ``A = Ûᵀ D`` of the reduced problem (`reduced.py`), and
``U = Q Û``. Only one column panel of C is in memory at a time: Cᵀ has the singular values and the right
singular vectors of its triangle R, to which the panels are added one by one (R of ``[R; C_jᵀ]``, sequential
TSQR), and then ``V_j = C_jᵀ Û diag(1/s)``. Nothing is squared. Cost ``2 n l (2 p + q)``. After Halko,
Martinsson & Tropp, SIAM Review 53 (2011), algorithms 4.1 and 4.4.

What Q misses is seen with ten more Gaussian columns: by their (4.3), with probability 1 - 10⁻¹⁰,

    ‖Xc - Q Qᵀ Xc‖ <= 10 √(2/π) max_i ‖(I - Q Qᵀ) Xc ω_i‖.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lincorr.arrays import Array, like, namespace
from lincorr.errors import LincorrError
from lincorr.solvers.cutoff import Cut, cut

METHOD = "lowrank"
OVERSAMPLING = 64
PROBES = 10
_CHUNK = 256  # rows of Ω that one random generator makes


@dataclass(frozen=True, slots=True)
class Small:
    """The decomposition of C.

    Attributes:
        rotation: Û (l, r), with ``U = Q Û``.
        values: s (r,), descending.
        cut: the rank decision.
    """

    rotation: Array
    values: Array
    cut: Cut


def gaussian(start: int, stop: int, width: int, seed: int, where: Array) -> Array:
    """Return rows `start` to `stop` of Ω (p, width), the same for every cut into panels of columns."""
    first, last = start // _CHUNK, -(-stop // _CHUNK)
    chunks = [
        np.random.default_rng((seed, chunk)).standard_normal((_CHUNK, width)) for chunk in range(first, last)
    ]
    return like(np.concatenate(chunks)[start - first * _CHUNK : stop - first * _CHUNK], where)


def orthonormal(sketch: Array) -> tuple[Array, float]:
    """Return Q (n, l) of a sketch (n, l + probes), and a bound on ‖Xc - Q Qᵀ Xc‖ from the probes."""
    xp = namespace(sketch)
    Q, _ = xp.linalg.qr(sketch[:, :-PROBES])
    probes = sketch[:, -PROBES:]
    missed = probes - Q @ (Q.T @ probes)
    largest = float(xp.max(xp.linalg.vector_norm(missed, axis=0)))
    return Q, 10 * math.sqrt(2 / math.pi) * largest


def decompose(
    panels: Iterable[Array],
    shape: tuple[int, int],
    *,
    noise: float,
    rank_limit: int | None = None,
    rcond: float | None = None,
) -> Small:
    """Decompose C from its panels C_j (l, b), in their order.

    Args:
        shape: (n, p) of X.

    Raises:
        LincorrError: X has more directions above its noise than the sketch has columns.
    """
    triangle = functools.reduce(_with_panel, panels, None)
    xp, width = namespace(triangle), triangle.shape[1]
    _, values, right_t = xp.linalg.svd(triangle, full_matrices=False)
    decision = cut(values, shape, noise=noise, rank_limit=rank_limit, rcond=rcond)
    if decision.rank >= width and width < min(shape[0] - 1, shape[1]):
        raise LincorrError(
            f"fit: lowrank looked for {width:,} directions and the logits have more above their noise; "
            "set fit.method to tiled or dual"
        )
    return Small(right_t[: decision.rank, :].T, values[: decision.rank], decision)


def _with_panel(triangle: Array | None, panel: Array) -> Array:
    """Return R of all panels of C before and of this one."""
    xp = namespace(panel)
    return xp.linalg.qr(panel.T if triangle is None else xp.concat([triangle, panel.T]))[1]


def basis_panel(panel: Array, small: Small) -> Array:
    """Return the rows of V (b, r) that belong to a panel C_j (l, b)."""
    return (panel.T @ small.rotation) / small.values[None, :]
