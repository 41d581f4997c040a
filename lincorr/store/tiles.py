"""The dense weights of a map, in tiles that stay on disk."""

from typing import Any, cast

import numpy as np

from lincorr.errors import StoreDamaged
from lincorr.solvers.result import Floats
from lincorr.store.hierarchy import READ_ERRORS


class StoredTiles:
    """Dense weights that stay on disk: only the tiles of what is asked for are read."""

    def __init__(self, array: Any, where: str) -> None:
        self._array = array
        self._where = where

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return cast(tuple[int, int], self._array.shape)

    def __getitem__(self, index: tuple[Any, Any]) -> Floats:
        """Return the block of rows and columns, given as integer arrays or slices.

        Raises:
            StoreDamaged: a tile is missing or damaged.
        """
        try:
            block: Floats = np.asarray(self._array.oindex[index])
            if not np.isnan(block).any():
                return block
            reason = "a tile is missing"
        except READ_ERRORS as problem:
            reason = str(problem)
        raise StoreDamaged(
            f"store: the weights in {self._where!r} are damaged ({reason}); run `lincorr fit` to fit them "
            "again"
        )

    def after(self, logits: Floats) -> Floats:
        """Return ``logits @ W`` (n, q), a panel of rows of W at a time."""
        height = self._array.chunks[0]
        total = np.zeros((len(logits), self.shape[1]))
        for start in range(0, self.shape[0], height):
            rows = slice(start, min(start + height, self.shape[0]))
            total += logits[:, rows] @ self[rows, slice(None)]
        return total
