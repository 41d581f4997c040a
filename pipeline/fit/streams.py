"""Fits that stream: rows -> a decomposition in the scratch -> the two maps, as stages of tile tasks.

    gram       moments by group of rows -> merged in a binary tree -> eigendecomposition
    dual       rows cut into panels -> products between rows, tile by tile -> eigendecomposition -> V, A
    lowrank    rows cut into panels -> sketch by block of rows -> QR -> core by panel -> SVD -> V, A

and for all of them: leave-one-out by block of rows, and the maps. Every task writes tiles that depend on
final tiles alone, and sums run in the order of the blocks, so that the answer has the same bits wherever
and however often tasks run. What the scratch keeps at the end is the decomposition, for `evaluate`:
values, basis (V), projected (A), source_mean, target_mean.
"""

import time

import numpy as np

from lincorr.arrays import like, namespace
from lincorr.solvers import gram
from lincorr.solvers.reduced import LeaveOneOut, leave_one_out_block, scored_outputs
from lincorr.solvers.spectrum import ROOT_PENALTIES
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.strict import finite
from pipeline.fit.dual import decompose_dual
from pipeline.fit.gram import decompose_gram, moment_names
from pipeline.fit.lowrank import decompose_lowrank
from pipeline.fit.panels import scored
from pipeline.fit.tiles import TileTask, opened, opened_rows, receipt, run_tiles
from pipeline.runtime.executor import Executor, Receipt

_PACKED = 7  # rows of a packed `LeaveOneOut`


_TEMPORARY = (
    *("X", "Y", "X_sums", "Y_sums", "X_squares", "X_widest", "Y_scored", "left"),
    *("products", "sketch", "range", "core", "rotation", "missed", "left_out"),
)


def decompose(executor: Executor, store: LogitStore, scratch: Scratch, method: str) -> None:
    """Decompose the scratch's rows by `method`; nothing is done where it is done."""
    if scratch.facts().get("decomposed"):
        return
    {"gram": decompose_gram, "dual": decompose_dual, "lowrank": decompose_lowrank}[method](
        executor, store, scratch
    )
    _leave_one_out(executor, store, scratch)
    scratch.remember(decomposed=True)
    for name in (*_TEMPORARY, *moment_names(scratch)):
        scratch.discard(name)


def _leave_one_out(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Score every penalty of the path, block of rows by block of rows."""
    n, q = scratch.shape("rows")[1], scratch.shape("target_ids")[1]
    blocks = -(-n // scratch.facts()["block"])
    height, outputs = _PACKED * len(ROOT_PENALTIES), len(scored_outputs(q))
    scratch.create("left_out", (blocks * height, outputs), (height, outputs))
    places = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "leave one out", leave_out, store, scratch, "left_out", places)

    def block(i: int) -> list[LeaveOneOut]:
        kept = scratch.read("left_out", i, 0).reshape(len(ROOT_PENALTIES), _PACKED, outputs)
        return [LeaveOneOut.unpacked(one) for one in kept]

    merged = block(0)
    for i in range(1, blocks):
        merged = [one.merge(other) for one, other in zip(merged, block(i), strict=True)]
    scratch.remember(left_out=finite([one.score() for one in merged]))


def leave_out(task: TileTask) -> Receipt:
    """Leave each row of one block out, for every penalty of the path."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    values, sigma_1 = scratch.load("values")[0, :], scratch.facts()["cut"]["sigma_1"]
    if scratch.has("left", task.i, 0):
        left, targets = scratch.read("left", task.i, 0), panels.scored(task.i)
    else:  # gram keeps no rows
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
    return receipt(task, began, rows=left.shape[0], written=scratch.write("left_out", task.i, 0, packed))
