"""Sums of the columns, block of rows by block: from them columns are centred, and the noise floor follows."""

import numpy as np
from numpy.typing import NDArray

from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels
from pipeline.fit.rows import FitRows
from pipeline.fit.tiles import Done, TileTask, opened_rows, run_tiles, tile_task
from pipeline.runtime.executor import Executor

SUMS_COMMIT = "X_widest"  # written last of a block's sums


def measure_rows(executor: Executor, store: LogitStore, scratch: Scratch, rows: FitRows) -> None:
    """Write the sums of all blocks of rows, as far as they are missing."""
    blocks = len(rows.by_shard)
    create_sums(scratch, blocks)
    positions = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "measure", measure_block, store, scratch, SUMS_COMMIT, positions, on_device=False)


@tile_task
def measure_block(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Write the sums of one block of rows.

    Raises:
        StoreDamaged: a row is missing or damaged.
        LincorrError: a logit is not finite.
    """
    rows = opened_rows(task)
    x, y = rows.read(rows.by_shard[task.i])
    write_sums(scratch, task.i, x, y)
    return Done(rows=len(x))


def create_sums(scratch: Scratch, blocks: int) -> None:
    """Create the arrays of the sums of blocks of rows."""
    for side, ids in (("X", "source_ids"), ("Y", "target_ids")):
        width = scratch.shape(ids)[1]
        scratch.create(f"{side}_sums", (blocks, width), (1, width))
    scratch.create("X_squares", scratch.shape("X_sums"), (1, scratch.shape("X_sums")[1]))
    scratch.create(SUMS_COMMIT, (blocks, 1), (1, 1))


def write_sums(scratch: Scratch, i: int, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """Write the sums of block i: rows x (n, p) and y (n, q)."""
    width = scratch.facts()["panel"]
    sums: dict[str, list[NDArray[np.float64]]] = {"X_sums": [], "Y_sums": [], "X_squares": []}
    by_row = np.zeros(len(x))
    for name, data in (("X_sums", x), ("Y_sums", y)):
        for start in range(0, data.shape[1], width):
            panel = data[:, start : start + width].astype(np.float64)
            sums[name].append(panel.sum(axis=0))
            if data is x:
                sums["X_squares"].append(np.einsum("ij,ij->j", panel, panel))
                by_row += np.einsum("ij,ij->i", panel, panel)
    for name, found in sums.items():
        scratch.write(name, i, 0, np.concatenate(found)[None])
    scratch.write(SUMS_COMMIT, i, 0, np.sqrt(by_row.max())[None, None])
