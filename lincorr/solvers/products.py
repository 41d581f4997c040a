"""Products of panels of centred columns, summed over blocks of rows."""

from collections.abc import Iterable, Mapping
from typing import Literal

from lincorr.arrays import Array, add_product, add_square, device, namespace

Position = tuple[Literal["gram", "cross"], int, int]  # of a tile of G or of B, by its panels


def gram_tile(pairs: Iterable[tuple[Array, Array]]) -> Array:
    """Return ``Σ aᵀ b`` over blocks of centred rows, a (n_k, b_i) and b (n_k, b_j), in their order."""
    total = None
    for a, b in pairs:
        total = _zeros(a, b) if total is None else total
        total = _add(total, a, b)
    return mirrored(total) if a is b else total


def add_products(sums: dict[Position, Array | None], x: Mapping[int, Array], y: Mapping[int, Array]) -> None:
    """Add one block of rows to tiles of ``G = Xcᵀ Xc`` and ``B = Xcᵀ Yc``, in place.

    Args:
        sums: tile -> sum over the blocks before, None at first. Of a tile on G's diagonal only the lower
            triangle is valid (`mirrored`).
        x, y: number of a panel -> its centred rows (n_k, b), for the panels that the tiles need.
    """
    for (name, i, j), total in sums.items():
        a, b = x[i], x[j] if name == "gram" else y[j]
        sums[name, i, j] = _add(_zeros(a, b) if total is None else total, a, b)


def mirrored(lower: Array) -> Array:
    """Return the symmetric matrix whose lower triangle is given."""
    xp = namespace(lower)
    return xp.where(xp.tril(xp.ones_like(lower, dtype=xp.bool)), lower, lower.T)


def _add(total: Array, a: Array, b: Array) -> Array:
    return add_square(total, a.T) if a is b else add_product(total, a.T, b)


def _zeros(a: Array, b: Array) -> Array:
    return namespace(a).zeros((a.shape[1], b.shape[1]), dtype=a.dtype, device=device(a))
