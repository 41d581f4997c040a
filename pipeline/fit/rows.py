"""The rows of an out-of-core fit, as its tasks read them from the store."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from lincorr.errors import LincorrError
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.plan.memory import reading_bytes

_ENOUGH_ROWS = 512  # in a block: products of more are no faster


class FitRows:
    """Source and target logits of a fit's rows."""

    def __init__(self, store: LogitStore, scratch: Scratch) -> None:
        """Take an open store, and a scratch with the fit's rows, columns and largest block."""
        facts = scratch.facts()
        self._store = store
        self._most: int = facts["block"]
        self._rows = indices(scratch, "rows")
        self._sides = [(facts[side], indices(scratch, f"{side}_ids")) for side in ("source", "target")]

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return rows of X and Y from the store, as stored, but float32 in place of float16.

        Raises:
            StoreDamaged: a row is missing or damaged.
            LincorrError: a logit is not finite.
        """
        x, y = (self._logits(template, ids, rows) for template, ids in self._sides)
        return x, y

    def _logits(self, template: str, ids: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        logits = self._store.logits(template, ids, rows)
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise LincorrError(
                f"fit: the logits of template {template!r} at row {rows[~finite][0]} of {self._store.url!r} "
                "are not all finite; extract again with store.precision float32"
            )
        return logits.astype(np.float32, copy=False)

    def reading_bytes(self) -> int:
        """Return what reading blocks `by_shard`, one ahead, holds at most."""
        p, q = (len(ids) for _, ids in self._sides)
        identity, height = self._store.identity, max(map(len, self.by_shard))
        rest = max(
            0, min(identity.shard_rows, self._store.n_subjects) - height
        )  # read with them, and dropped
        made = not all(np.isin(ids, self._store.column_ids(name)).all() for name, ids in self._sides)
        head = 4 * identity.width * (identity.vocabulary_size + p + q) if made else 0
        return reading_bytes(height, rest, p, q, head)

    def block(self, i: int) -> NDArray[np.int64]:
        """Return the store's rows of block i, in the order of the fit, where all blocks have as many."""
        return self._rows[i * self._most : (i + 1) * self._most]

    @functools.cached_property
    def by_shard(self) -> list[NDArray[np.int64]]:
        """The store's rows in their order there, in blocks.

        A shard is read and checked whole, so it is one block where it fits; small ones share a block.
        """
        rows, shard_rows = np.sort(self._rows), self._store.identity.shard_rows
        enough = min(self._most, _ENOUGH_ROWS)
        blocks: list[NDArray[np.int64]] = []
        for shard in np.split(rows, 1 + np.flatnonzero(np.diff(rows // shard_rows))):
            for part in np.array_split(shard, math.ceil(len(shard) / self._most)):
                if blocks and len(blocks[-1]) + len(part) <= enough:
                    blocks[-1] = np.concatenate([blocks[-1], part])
                else:
                    blocks.append(part)
        return blocks


def indices(scratch: Scratch, name: str) -> NDArray[np.int64]:
    """Return row numbers or token ids (k,) from the scratch."""
    found: NDArray[np.int64] = scratch.load_host(name)[0].astype(np.int64)
    return found
