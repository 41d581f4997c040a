"""Ridge of any size, λ > 0: a left-looking Cholesky of ``G = Xcᵀ Xc + λ I`` in square tiles, out of core.

    products   G_ij = Xc_iᵀ Xc_j,   B_ij = Xc_iᵀ Yc_j (`products.py`)  many tiles a sweep over the rows
    factor     L_jj = chol(G_jj + λI - Σ_{k<j} L_jk L_jkᵀ)              block column by block column,
               L_ij = (G_ij - Σ_{k<j} L_ik L_jkᵀ) L_jj⁻ᵀ   (i > j)      one task a tile
    solve      L Z = B,  Lᵀ W = Z                                      some column blocks of B a task

Inputs of a task are rows or final tiles only and its output is tiles, so that any task can be run again and a
solve resumes where it stopped. Cost ``n p (p + 2 q) + p³/3 + 2 p² q``; a task holds a few tiles. It is ridge,
plainly: without λ the Gram matrix of logits is singular. Every number of W has the error of a backward
stable solution: about ``eps · (σ₁² + λ) / λ`` at worst.

`read(i, j)` returns a tile of L; only the lower triangle has tiles.
"""

from collections.abc import Callable, Sequence

from lincorr.arrays import Array, add_product, add_square, cholesky, namespace, solve_triangular
from lincorr.errors import LincorrError

METHOD = "tiled"

Read = Callable[[int, int], Array]


def add_to_diagonal(tile: Array, penalty: float) -> Array:
    """Return a diagonal tile of ``G + λI``."""
    xp = namespace(tile)
    unit = xp.arange(tile.shape[0], device=tile.device)
    here = unit[:, None] == unit[None, :]
    return xp.where(here, tile + penalty, tile)


def downdate(tile: Array, i: int, j: int, read: Read) -> Array:
    """Return ``G_ij - Σ_{k<j} L_ik L_jkᵀ``; `tile` is used up."""
    for k in range(j):
        if i == j:  # whose lower triangle alone is factored
            tile = add_square(tile, read(i, k), sign=-1.0)
        else:
            tile = add_product(tile, read(i, k), read(j, k).T, sign=-1.0)
    return tile


def factor_diagonal(tile: Array, j: int) -> Array:
    """Return L_jj of a downdated diagonal tile.

    Raises:
        LincorrError: it is not positive definite.
    """
    xp = namespace(tile)
    try:
        lower = cholesky(tile)
    except (ArithmeticError, ValueError, RuntimeError) as problem:
        raise _not_positive(j) from problem
    pivots = xp.linalg.diagonal(lower)
    if not bool(xp.all(xp.isfinite(pivots) & (pivots > 0))):  # CuPy does not raise
        raise _not_positive(j)
    return lower


def factor_below(tile: Array, diagonal: Array) -> Array:
    """Return L_ij (i > j) of a downdated tile and L_jj."""
    return solve_triangular(diagonal, tile.T, lower=True).T


def forward(blocks: Sequence[list[Array]], read: Read) -> None:
    """Replace column blocks of B by those of Z, ``L Z = B``; each is given as its tiles from the top.

    A tile of L is read once for all of them.
    """
    for i in range(len(blocks[0])):
        for k in range(i):
            tile = read(i, k)
            for right in blocks:
                right[i] = add_product(right[i], tile, right[k], sign=-1.0)
        tile = read(i, i)
        for right in blocks:
            right[i] = solve_triangular(tile, right[i], lower=True)


def backward(blocks: Sequence[list[Array]], read: Read) -> None:
    """Replace column blocks of Z by those of W, ``Lᵀ W = Z``, as in `forward`."""
    tiles = len(blocks[0])
    for i in reversed(range(tiles)):
        for k in range(i + 1, tiles):
            tile = read(k, i)
            for right in blocks:
                right[i] = add_product(right[i], tile.T, right[k], sign=-1.0)
        tile = read(i, i)
        for right in blocks:
            right[i] = solve_triangular(tile.T, right[i], lower=False)


def order_of_reading(tiles: int) -> list[tuple[int, int]]:
    """Return which tiles of L `forward` and then `backward` read, in order, for that many tiles down."""
    down = [(i, k) for i in range(tiles) for k in range(i + 1)]
    up = [(k, i) for i in reversed(range(tiles)) for k in (*range(i + 1, tiles), i)]
    return down + up


def largest_eigenvalue(multiply: Callable[[Array], Array], start: Array, rounds: int = 4) -> float:
    """Return λ_max of a symmetric matrix by block power steps from `start` (p, m), good to about a percent.

    A lower bound; the error falls as ``(λ_{m+1} / λ_1) ** (2 rounds)``.
    """
    xp = namespace(start)
    block, _ = xp.linalg.qr(start)
    for _ in range(rounds - 1):
        block, _ = xp.linalg.qr(multiply(block))
    small = block.T @ multiply(block)
    return float(xp.max(xp.linalg.eigvalsh((small + small.T) / 2)))


def _not_positive(j: int) -> LincorrError:
    return LincorrError(
        f"fit: the Gram matrix is not positive definite at diagonal tile {j} (singular to rounding); set a "
        "larger fit.penalty"
    )
