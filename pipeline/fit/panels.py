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
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from lincorr.arrays import Array, like, namespace
from lincorr.solvers.cutoff import noise_floor
from lincorr.solvers.reduced import scored_outputs
from lincorr.store.scratch import Scratch
from pipeline.fit.squares import SquareTiles

Side = Literal["X", "Y"]
_SIDES: tuple[Side, ...] = ("X", "Y")


class Panels:
    """The cut rows, read back centred and in float64; with the square matrices made of them."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.squares = SquareTiles(scratch)

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

    def scored(self, i: int) -> Array:
        """Return the outputs of block i that leave-one-out scores, centred (b, m)."""
        return self._scratch.read("Y_scored", i, 0) - scored(self.means["Y"])

    def noise(self, storage_eps: float) -> float:
        """Return τ of X."""
        widest, squares = (self._scratch.load_host(name) for name in ("X_widest", "X_squares"))
        return noise_floor(widest.max(axis=0), np.sqrt(squares.sum(axis=0)), storage_eps)

    @functools.cached_property
    def _panel_width(self) -> int:
        return int(self._scratch.facts()["panel"])


def scored(means: Array) -> Array:
    """Return the means (m,), of all (q,), of the outputs that leave-one-out scores."""
    return namespace(means).take(means, like(scored_outputs(means.shape[0]), means), axis=0)
