"""Cut the rows of a fit into tiles."""

import time

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.reduced import scored_outputs
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Doubles
from pipeline.fit.tiles import TileTask, opened, opened_rows, receipt, run_tiles
from pipeline.runtime.executor import Executor, Receipt

SUMS_COMMIT = "X_widest"  # the last that is written of a block's sums


def cut_rows(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Write X and Y of the scratch's rows in tiles, those that are not there yet."""
    n, p, q = (scratch.shape(name)[1] for name in ("rows", "source_ids", "target_ids"))
    block, panel = scratch.facts()["block"], scratch.facts()["panel"]
    blocks = -(-n // block)
    for side, width in (("X", p), ("Y", q)):
        scratch.create(side, (n, width), (block, panel), np.float32)
    create_sums(scratch, blocks)
    scored = len(scored_outputs(q))
    scratch.create("Y_scored", (n, scored), (block, scored), np.float32)
    places = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "cut", cut_block, store, scratch, SUMS_COMMIT, places, on_device=False)


def cut_block(task: TileTask) -> Receipt:
    """Write one block of rows, its sums last.

    Raises:
        StoreDamaged: a row is missing or damaged.
        LincorrError: a logit is not finite.
    """
    began = time.perf_counter()
    scratch, _ = opened(task)
    fit_rows = opened_rows(task)
    x, y = fit_rows.read(fit_rows.block(task.i))
    width = scratch.facts()["panel"]
    written, sides = 0, (("X", x), ("Y", y))
    for side, data in sides:
        for j in range(scratch.tiles(side)[1]):
            written += scratch.write(side, task.i, j, data[:, j * width : (j + 1) * width])
    scratch.write("Y_scored", task.i, 0, y[:, scored_outputs(y.shape[1])])
    write_sums(scratch, task.i, x, y)
    return receipt(task, began, rows=len(x), written=written)


def create_sums(scratch: Scratch, blocks: int) -> None:
    """Make room for the sums of blocks of rows."""
    for side, ids in (("X", "source_ids"), ("Y", "target_ids")):
        width = scratch.shape(ids)[1]
        scratch.create(f"{side}_sums", (blocks, width), (1, width))
    scratch.create("X_squares", scratch.shape("X_sums"), (1, scratch.shape("X_sums")[1]))
    scratch.create(SUMS_COMMIT, (blocks, 1), (1, 1))


def write_sums(scratch: Scratch, i: int, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """Write what centring and the noise floor need of block i."""
    width = scratch.facts()["panel"]
    sums: dict[str, list[Doubles]] = {"X_sums": [], "Y_sums": [], "X_squares": []}
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
