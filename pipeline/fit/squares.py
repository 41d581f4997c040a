"""Square matrices (p, p) in tiles of a scratch, whose lower tiles stay in memory if all of them fit."""

import functools
from collections.abc import Callable, Sequence

from lincorr.arrays import Array
from lincorr.store.scratch import Scratch
from pipeline.plan.memory import holds_square, most_column_blocks


class SquareTiles:
    """Readers of the lower tiles of a fit's square matrices, with one cache of tiles."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._cached: dict[tuple[str, int, int], Array] = {}

    def reader(
        self, name: str, positions: Sequence[tuple[int, int]], column_blocks: int = 0
    ) -> Callable[[int, int], Array]:
        """Return a reader of the lower tiles of a (p, p) matrix that are asked for in this order.

        While one is used, the next is prefetched. Each is read once if all fit into memory beside some
        column blocks of W; the cached tiles of other matrices are released.
        """
        keeps = self.holds(name, column_blocks)
        self.release(name if keeps else "")
        if keeps:
            positions = [place for place in dict.fromkeys(positions) if (name, *place) not in self._cached]
        coming = zip(positions, self._scratch.read_ahead(name, positions), strict=True)

        def read(i: int, j: int) -> Array:
            if (name, i, j) in self._cached:
                return self._cached[name, i, j]
            position, tile = next(coming)
            assert position == (i, j), "tiles are read in another order"
            if keeps:
                self._cached[name, i, j] = tile
            return tile

        return read

    def most_column_blocks(self) -> int:
        """Return how many column blocks of W fit into memory, beside a few tiles."""
        return most_column_blocks(self._panel_width, self._scratch.tiles("cross")[0], self._memory_bytes)

    def release(self, name: str = "") -> None:
        """Release the cached tiles of all matrices but `name`."""
        self._cached = {key: tile for key, tile in self._cached.items() if key[0] == name}

    def holds(self, name: str, column_blocks: int = 0) -> bool:
        """Whether a lower triangle (p, p) fits beside what a task holds: column blocks and a few tiles."""
        return holds_square(
            self._panel_width, self._scratch.tiles(name)[0], column_blocks, self._memory_bytes
        )

    @functools.cached_property
    def _panel_width(self) -> int:
        return int(self._scratch.facts()["panel"])

    @functools.cached_property
    def _memory_bytes(self) -> int:
        return int(self._scratch.facts()["memory_bytes"])
