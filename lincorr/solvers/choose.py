"""Sizes -> a method, the reason in words, and its cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lincorr.errors import BadInput
from lincorr.solvers.lowrank import OVERSAMPLING, PROBES

Method = Literal["direct", "factored", "gram", "dual", "lowrank", "tiled"]

_DIRECT_FLOPS = 5e11  # a minute or so on two cores
_EIGH_COLUMNS = 16_384  # an eigendecomposition beyond this takes hours on a CPU
EIGH_FLOPS = 9.0  # of n³, with vectors
SVD_FLOPS = 6.0  # of n p min(n, p), with both sides
_DUAL_ROWS = 4  # with up to this many sketch widths of rows, using all costs less than a sketch
_SMALLEST_TILE, _LARGEST_TILE = 256, 4096
_FEWEST_TILES = 4  # to a side
_GRAM_ROWS = 2048  # that are added to moments at a time, at most


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, and the reason in words.

    Attributes:
        worker_bytes: the most that one task holds in memory.
        scratch_bytes: written beside the store while it runs.
        flops: of one decomposition and one solution.
    """

    method: str
    reason: str
    worker_bytes: int = 0
    scratch_bytes: int = 0
    flops: float = 0.0

    def seconds(self, flops_per_second: float) -> float:
        """Predict the time at a measured rate of float64 products, all workers together."""
        return self.flops / flops_per_second

    @property
    def out_of_core(self) -> bool:
        """Whether it runs as stages of tasks on the workers; else it is one piece of work."""
        return self.method not in ("direct", "factored")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a choice depends on.

    Attributes:
        n, p, q: rows, source and target columns.
        width: d of the model, which bounds the rank of the logits of a linear head.
        hidden: whether hidden states are stored; linear: whether logits are linear in them.
        root_penalty: √λ/σ₁ that was asked for, if any.
        memory_bytes: what a task may hold.
    """

    n: int
    p: int
    q: int
    width: int
    hidden: bool
    linear: bool
    root_penalty: float | None
    memory_bytes: int

    def __str__(self) -> str:
        return f"{self.n:,} x {self.p:,} -> {self.q:,}"

    @property
    def sketch(self) -> int:
        """Columns of a sketch."""
        return min(self.width + OVERSAMPLING, self.n) + PROBES

    @property
    def rank(self) -> int:
        """The largest rank of the source."""
        return min(self.n, self.p, self.width) if self.linear else min(self.n, self.p)


def choose(
    n_rows: int,
    n_source: int,
    n_target: int,
    *,
    width: int,
    hidden: bool,
    memory_bytes: int,
    linear: bool = True,
    root_penalty: float | None = None,
    method: Method | Literal["auto"] = "auto",
) -> Choice:
    """Choose how to solve a problem of n_rows subjects, n_source and n_target columns.

    Args:
        width: d of the model.
        hidden: whether hidden states are stored.
        memory_bytes: what a task may hold.
        linear: whether the head is linear; a soft-capped one is not.
        root_penalty: √λ/σ₁ where it is given.
        method: "auto", or a required one.

    Raises:
        BadInput: no method can solve the problem, or not the requested one.
    """
    sizes = Sizes(n_rows, n_source, n_target, width, hidden, linear, root_penalty, memory_bytes)
    if method != "auto":
        obstacle = _OBSTACLES[method](sizes)
        if obstacle:
            raise BadInput(f"fit.method: {method} cannot solve {sizes}: {obstacle}")
        return _cost(method, sizes, "as fit.method asks")
    for candidate, reason in _preferred(sizes):
        if _OBSTACLES[candidate](sizes) is None:
            return _cost(candidate, sizes, reason)
    obstacles = "; ".join(f"{name}: {_OBSTACLES[name](sizes)}" for name in ("direct", "lowrank", "tiled"))
    raise BadInput(
        f"fit: no method solves {sizes} ({obstacles}); raise fit.memory, extract into a store with "
        "store.hidden, or give fewer answers"
    )


def _preferred(sizes: Sizes) -> list[tuple[Method, str]]:
    """Methods in order of preference, each with the reason for it."""
    through = "soft-capped logits are no linear function of hidden states; " if not sizes.linear else ""
    found: list[tuple[Method, str]] = []
    if sizes.p > sizes.width:
        wider = f"more source columns than the model is wide ({sizes.width:,})"
        found.append(("factored", f"{wider}, so exactly through hidden states"))
    if _svd(sizes) <= _DIRECT_FLOPS:
        found.append(("direct", f"{through}small enough for one decomposition in float64"))
    if sizes.n >= sizes.p:
        found.append(("gram", f"{through}more rows than columns, so from their second moments"))
    fewer = f"{through}fewer rows than columns, so from the products between rows"
    if sizes.n < sizes.p and sizes.n <= _DUAL_ROWS * sizes.sketch:
        found.append(("dual", fewer))
    rank = f"logits have no more than {sizes.width:,} directions"
    found.append(("lowrank", f"{rank}, so from a random sketch of {sizes.sketch:,}"))
    found.append(("dual", f"{through}fewer rows than columns, so from the products between rows"))
    found.append(
        ("tiled", f"{through}too large for the rest, so ridge by a Cholesky factor in tiles on disk")
    )
    return found


def _svd(sizes: Sizes) -> float:
    return float(sizes.n) * sizes.p * min(sizes.n, sizes.p)


# --- why a method cannot solve a problem: None, or the obstacle in words -----------------------------------


def _too_large(method: Method, sizes: Sizes) -> str | None:
    needed = _BYTES[method](sizes)
    if needed <= sizes.memory_bytes:
        return None
    return f"it needs {needed / 1e9:.2f} GB of memory and has {sizes.memory_bytes / 1e9:.2f} (fit.memory)"


def _direct(sizes: Sizes) -> str | None:
    return _too_large("direct", sizes)


def _factored(sizes: Sizes) -> str | None:
    if not sizes.linear:
        return "the model's head is soft-capped, so its logits are no linear function of hidden states"
    if not sizes.hidden:
        return "the store keeps no hidden states (store.hidden)"
    return _too_large("factored", sizes)


def _gram(sizes: Sizes) -> str | None:
    if sizes.p > _EIGH_COLUMNS:
        return f"an eigendecomposition of {sizes.p:,} columns takes too long"
    return _too_large("gram", sizes)


def _dual(sizes: Sizes) -> str | None:
    if sizes.n > _EIGH_COLUMNS:
        return f"an eigendecomposition of {sizes.n:,} rows takes too long"
    return _too_large("dual", sizes)


def _lowrank(sizes: Sizes) -> str | None:
    if not sizes.linear:
        return "soft-capped logits have more directions than the model is wide"
    return _too_large("lowrank", sizes)


def _tiled(sizes: Sizes) -> str | None:
    if sizes.root_penalty is not None and sizes.root_penalty <= 0:
        return "it needs λ > 0, and fit.penalty is 0"
    return _too_large("tiled", sizes)


_OBSTACLES: dict[Method, Callable[[Sizes], str | None]] = {
    "direct": _direct,
    "factored": _factored,
    "gram": _gram,
    "dual": _dual,
    "lowrank": _lowrank,
    "tiled": _tiled,
}


# --- what a method costs -------------------------------------------------------------------------------

_Size = Callable[[Sizes], int]

# Bytes that one task holds, mostly of float64: its inputs, its output, and the library's workspace.
_BYTES: dict[Method, _Size] = {
    "direct": lambda s: 4 * (s.n * (11 * s.p + 12 * s.q) + 16 * min(s.n, s.p) ** 2),
    "factored": lambda s: 8 * (10 * s.n * s.width + (2 * s.p + 2 * s.q) * s.width + 6 * s.width**2),
    "gram": lambda s: 8 * s.p * (6 * s.p + 4 * s.q) + 32 * min(s.n, _GRAM_ROWS) * (s.p + s.q),
    "dual": lambda s: 8 * max(7 * s.n**2 + s.n * s.q, 2 * s.rank * (s.p + s.q)),
    "lowrank": lambda s: 8 * (4 * s.n * s.sketch + 8 * s.sketch**2 + 2 * s.rank * (s.p + s.q)),
    "tiled": lambda s: tile_bytes(s.p, _SMALLEST_TILE),
}

_SCRATCH: dict[Method, _Size] = {
    "direct": lambda s: 0,
    "factored": lambda s: 0,
    "gram": lambda s: 8 * 16 * s.p * (s.p + s.q),
    "dual": lambda s: 4 * s.n * (s.p + s.q) + 8 * (s.n**2 + min(s.n, s.width) * (s.n + s.p + s.q)),
    "lowrank": lambda s: 4 * s.n * (s.p + s.q) + 8 * s.sketch * (3 * s.n + 2 * s.p + s.q),
    "tiled": lambda s: 8 * (s.p**2 + 2 * s.p * s.q),
}

_FLOPS: dict[Method, Callable[[Sizes], float]] = {
    "direct": lambda s: SVD_FLOPS * _svd(s),
    "factored": lambda s: 2.0 * s.width**2 * (4 * s.n + s.p + s.q),
    "gram": lambda s: s.n * s.p * (s.p + 2.0 * s.q) + EIGH_FLOPS * s.p**3,
    "dual": lambda s: 1.0 * s.n**2 * s.p + EIGH_FLOPS * s.n**3 + 2.0 * min(s.n, s.width) * s.n * (s.p + s.q),
    "lowrank": lambda s: 2.0 * s.n * s.sketch * (2 * s.p + s.q),
    "tiled": lambda s: s.n * s.p * (s.p + 2.0 * s.q) + s.p**3 / 3 + 2.0 * s.p**2 * s.q,
}


def _cost(method: Method, sizes: Sizes, reason: str) -> Choice:
    held, scratch, flops = _BYTES[method](sizes), _SCRATCH[method](sizes), _FLOPS[method](sizes)
    if method == "tiled":  # as large as memory allows, or has a use
        tile = tile_bytes(sizes.p, largest_tile(sizes.p, sizes.memory_bytes))
        held = min(max(tile, product_bytes(sizes.p, sizes.q)), max(tile, sizes.memory_bytes))
    cost = f"; about {flops:.1g} operations"
    if scratch:
        cost += f", {scratch / 1e9:.2g} GB of scratch beside the store"
    return Choice(method, f"{sizes}: {reason}{cost}", held, scratch, flops)


def product_bytes(p: int, q: int) -> int:
    """Return what the lower half of XᵀX and XᵀY take; tiled sums them up in sweeps over the rows."""
    return 8 * p * (p // 2 + q)


def tile_bytes(n_columns: int, tile: int) -> int:
    """Return what a task of the tiled method holds: a column block of W twice, and a few tiles."""
    return 8 * (2 * n_columns * tile + 10 * tile * tile)


def largest_tile(n_columns: int, memory_bytes: int) -> int:
    """Return the largest tile whose tasks fit into memory, of those that cut the columns into 4, 8, 16, ...

    A power of two, so that any usual number of workers has equal shares; it must not depend on their number,
    nor must the bits of the answer.
    """
    tiles = _FEWEST_TILES
    while True:
        tile = -(-n_columns // tiles)
        fits = tile <= _LARGEST_TILE and tile_bytes(n_columns, tile) <= memory_bytes
        if fits or tile <= _SMALLEST_TILE:
            return tile
        tiles *= 2
