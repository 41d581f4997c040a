"""The rows of an out-of-core fit, cut once into blocks of rows and panels of columns in its scratch.

A store's shards hold whole rows; a solver that walks over columns would read everything again and again.
So a first stage (`cut.py`) writes X and Y in tiles, with the sums from which columns are centred. (`tiled`
walks over rows, `sweeps.py`, and has the sums alone.)

    X, Y                  tiles (block rows, panel columns), float32: exactly what the store has
    Y_scored              the columns of Y that leave-one-out scores
    X_sums, Y_sums        (blocks, p): one row a block;  X_squares (blocks, p);  X_widest (blocks, 1)
    rows, source_ids, target_ids
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from lincorr.arrays import Array, like, namespace
from lincorr.solvers.cutoff import noise_floor
from lincorr.solvers.reduced import scored_outputs
from lincorr.store.scratch import Scratch
from pipeline.plan.memory import holds_square, most_column_blocks

Side = Literal["X", "Y"]
_SIDES: tuple[Side, ...] = ("X", "Y")


class Panels:
    """The cut rows, read back centred and in float64; square matrices, whose tiles may stay in memory."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._cached: dict[tuple[str, int, int], Array] = {}

    @functools.cached_property
    def n_blocks(self) -> int:
        """Blocks of rows."""
        return self._scratch.tiles("X")[0]

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return self._scratch.shape("rows")[1]

    def n_panels(self, side: Side) -> int:
        """Panels of columns."""
        return self._scratch.tiles(side)[1]

    def width(self, side: Side) -> int:
        """Columns in all."""
        return self._scratch.shape(side)[1]

    @functools.cached_property
    def means(self) -> dict[Side, Array]:
        """Mean of every column, summed in the order of the blocks."""
        sums = {side: self._scratch.load(f"{side}_sums") for side in _SIDES}
        return {side: namespace(rows).sum(rows, axis=0) / self.n_rows for side, rows in sums.items()}

    def down(self, side: Side, j: int) -> Iterator[Array]:
        """Yield the tiles of panel j, block by block, centred; the next is prefetched."""
        return self._centred(side, [(i, j) for i in range(self.n_blocks)])

    def across(self, side: Side, i: int) -> Iterator[Array]:
        """Yield the tiles of block i, panel by panel, centred; the next is prefetched."""
        return self._centred(side, [(i, j) for j in range(self.n_panels(side))])

    def _centred(self, side: Side, positions: Sequence[tuple[int, int]]) -> Iterator[Array]:
        tiles = self._scratch.read_ahead(side, positions)
        for (_, j), tile in zip(positions, tiles, strict=True):
            yield self.centred(side, j, tile)

    def centred(self, side: Side, j: int, tile: Array) -> Array:
        """Return rows of panel j, float32, less their columns' means: float64, as these are."""
        start = j * self._panel_width
        return tile - self.means[side][start : start + tile.shape[1]]

    def square(self, name: str) -> Callable[[int, int], Array]:
        """Return a reader of the lower tiles of a (p, p) matrix; it reads each once if all fit into memory.

        The cached tiles of other matrices are released.
        """
        self.forget(name)
        if not self._holds_square(name):
            return lambda i, j: self._scratch.read(name, i, j)

        def read(i: int, j: int) -> Array:
            if (name, i, j) not in self._cached:
                self._cached[name, i, j] = self._scratch.read(name, i, j)
            return self._cached[name, i, j]

        return read

    def square_in_order(
        self, name: str, positions: Sequence[tuple[int, int]], column_blocks: int
    ) -> Callable[[int, int], Array]:
        """Return the same for tiles that are read in this order, beside some column blocks of W.

        Where not all of them fit, the next one is prefetched.
        """
        if self._holds_square(name, column_blocks):
            return self.square(name)
        self.forget()
        coming = zip(positions, self._scratch.read_ahead(name, positions), strict=True)

        def read(i: int, j: int) -> Array:
            position, tile = next(coming)
            assert position == (i, j), "tiles are read in another order"
            return tile

        return read

    def most_column_blocks(self) -> int:
        """Return how many column blocks of W fit into memory, beside a few tiles."""
        return most_column_blocks(self._panel_width, self._scratch.tiles("cross")[0], self._memory_bytes)

    def scored(self, i: int) -> Array:
        """Return the outputs of block i that leave-one-out scores, centred (b, m)."""
        return self._scratch.read("Y_scored", i, 0) - scored(self.means["Y"])

    def noise(self, storage_eps: float) -> float:
        """Return τ of X."""
        widest, squares = (self._scratch.load_host(name) for name in ("X_widest", "X_squares"))
        return noise_floor(widest.max(axis=0), np.sqrt(squares.sum(axis=0)), storage_eps)

    def forget(self, name: str = "") -> None:
        """Release the cached tiles of all matrices but `name`."""
        self._cached = {key: tile for key, tile in self._cached.items() if key[0] == name}

    @functools.cached_property
    def _panel_width(self) -> int:
        return int(self._scratch.facts()["panel"])

    @functools.cached_property
    def _memory_bytes(self) -> int:
        return int(self._scratch.facts()["memory_bytes"])

    def _holds_square(self, name: str, column_blocks: int = 0) -> bool:
        """Whether a lower triangle (p, p) fits beside what a task holds: column blocks and a few tiles."""
        return holds_square(
            self._panel_width, self._scratch.tiles(name)[0], column_blocks, self._memory_bytes
        )


def scored(means: Array) -> Array:
    """Return the means (m,), of all (q,), of the outputs that leave-one-out scores."""
    return namespace(means).take(means, like(scored_outputs(means.shape[0]), means), axis=0)
