"""Leave-one-out scores of a decomposition out of core (`lincorr.solvers.reduced`), block of rows by block."""

import numpy as np

from lincorr.arrays import like, namespace
from lincorr.scores.documents import to_json
from lincorr.solvers import gram
from lincorr.solvers.reduced import LeaveOneOut, leave_one_out_block, scored_outputs
from lincorr.solvers.spectrum import ROOT_PENALTIES
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels, scored
from pipeline.fit.tiles import Done, TileTask, opened_rows, run_tiles, tile_task
from pipeline.runtime.executor import Executor

_PACKED = 7  # rows of a packed `LeaveOneOut`


def score_left_out(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Score every penalty of the path; the scores end up in the scratch's facts as ``left_out``."""
    n, q = scratch.shape("rows")[1], scratch.shape("target_ids")[1]
    blocks = -(-n // scratch.facts()["block"])
    height, outputs = _PACKED * len(ROOT_PENALTIES), len(scored_outputs(q))
    scratch.create("left_out", (blocks * height, outputs), (height, outputs))
    positions = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "leave one out", leave_out, store, scratch, "left_out", positions)

    def block(i: int) -> list[LeaveOneOut]:
        packed = scratch.read("left_out", i, 0).reshape(len(ROOT_PENALTIES), _PACKED, outputs)
        return [LeaveOneOut.unpacked(one) for one in packed]

    merged = block(0)
    for i in range(1, blocks):
        merged = [one.merge(other) for one, other in zip(merged, block(i), strict=True)]
    scratch.remember(left_out=to_json([one.score() for one in merged]))


@tile_task
def leave_out(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Leave each row of one block out, for every penalty of the path."""
    values, sigma_1 = scratch.load("values")[0, :], scratch.facts()["cut"]["sigma_1"]
    if scratch.has("left", task.i, 0):
        left, targets = scratch.read("left", task.i, 0), panels.scored(task.i)
    else:  # gram stores no rows of U
        fit_rows = opened_rows(task)
        x, y = fit_rows.read(fit_rows.block(task.i))
        mean, basis = scratch.load("source_mean")[0, :], scratch.load("basis")
        left = gram.left_rows(scratch.put(x), mean, basis, values)
        means = scored(scratch.load("target_mean")[0, :])
        targets = scratch.put(y[:, scored_outputs(y.shape[1])]) - means
    projected = scratch.load("projected")
    found = leave_one_out_block(
        left,
        targets,
        values,
        namespace(projected).take(projected, like(scored_outputs(projected.shape[1]), projected), axis=1),
        ((ROOT_PENALTIES * sigma_1) ** 2).tolist(),
        scratch.shape("rows")[1],
    )
    packed = np.concatenate([one.packed() for one in found])
    return Done(rows=left.shape[0], written=scratch.write("left_out", task.i, 0, packed))
