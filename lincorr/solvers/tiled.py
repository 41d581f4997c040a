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

from collections.abc import Callable, Iterable, Iterator

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


def forward(rows: Iterable[list[Array]], read: Read) -> list[list[Array]]:
    """Return Z, ``L Z = B``, for some column blocks of B, whose tiles are used up.

    Args:
        rows: their tiles side by side, from the top; a row is taken when the one before is done.
    """
    found: list[list[Array]] = []
    for i, rights in enumerate(rows):
        for k in range(i):
            _downdate_row(rights, read(i, k), found[k])
        _solve_row(rights, read(i, i), lower=True)
        found.append(rights)
    return found


def backward(rows: list[list[Array]], read: Read) -> Iterator[int]:
    """Replace rows of Z by those of W, ``Lᵀ W = Z``; yield the number of each as soon as it is done."""
    for i in reversed(range(len(rows))):
        for k in range(i + 1, len(rows)):
            _downdate_row(rows[i], read(k, i).T, rows[k])
        _solve_row(rows[i], read(i, i).T, lower=False)
        yield i


def _downdate_row(rights: list[Array], tile: Array, others: list[Array]) -> None:
    for block, other in enumerate(others):  # in place, so that no more than one tile is there twice
        rights[block] = add_product(rights[block], tile, other, sign=-1.0)


def _solve_row(rights: list[Array], triangle: Array, *, lower: bool) -> None:
    for block, right in enumerate(rights):
        rights[block] = solve_triangular(triangle, right, lower=lower)


def order_of_factoring(i: int, j: int) -> list[tuple[int, int]]:
    """Return which tiles of L the tile (i, j) is made from, in the order in which they are read."""
    if i == j:
        return [(i, k) for k in range(j)]
    return [(row, k) for k in range(j) for row in (i, j)] + [(j, j)]


def order_of_solving(tiles: int) -> list[tuple[int, int]]:
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
