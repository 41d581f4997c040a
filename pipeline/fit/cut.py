"""Cut the rows of a fit into tiles of its scratch, each with its column sums (read back by `panels.py`)."""

import numpy as np

from lincorr.solvers.reduced import scored_outputs
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.measure import SUMS_COMMIT, create_sums, write_sums
from pipeline.fit.panels import Panels
from pipeline.fit.tiles import Done, TileTask, opened_rows, run_tiles, tile_task
from pipeline.runtime.executor import Executor


def cut_rows(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Write X and Y of the scratch's rows in tiles, as far as they are missing."""
    n, p, q = (scratch.shape(name)[1] for name in ("rows", "source_ids", "target_ids"))
    block, panel = scratch.facts()["block"], scratch.facts()["panel"]
    blocks = -(-n // block)
    for side, width in (("X", p), ("Y", q)):
        scratch.create(side, (n, width), (block, panel), np.float32)
    create_sums(scratch, blocks)
    scored = len(scored_outputs(q))
    scratch.create("Y_scored", (n, scored), (block, scored), np.float32)
    positions = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "cut", cut_block, store, scratch, SUMS_COMMIT, positions, on_device=False)


@tile_task
def cut_block(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Write one block of rows, its sums last.

    Raises:
        StoreDamaged: a row is missing or damaged.
        LincorrError: a logit is not finite.
    """
    fit_rows = opened_rows(task)
    x, y = fit_rows.read(fit_rows.block(task.i))
    width = scratch.facts()["panel"]
    written, sides = 0, (("X", x), ("Y", y))
    for side, data in sides:
        for j in range(scratch.tiles(side)[1]):
            written += scratch.write(side, task.i, j, data[:, j * width : (j + 1) * width])
    scratch.write("Y_scored", task.i, 0, y[:, scored_outputs(y.shape[1])])
    write_sums(scratch, task.i, x, y)
    return Done(rows=len(x), written=written)
