"""Stages of a fit out of core: rows -> a decomposition in the scratch.

    gram       moments by group of rows -> merged in a binary tree -> eigendecomposition
    dual       rows cut into panels -> products between rows, tile by tile -> eigendecomposition -> V, A
    lowrank    rows cut into panels -> sketch by block of rows -> QR -> core by panel -> SVD -> V, A

and for all of them leave-one-out by block of rows. Every task writes tiles that depend on final tiles alone,
and sums run in the order of the blocks, so that the answer has the same bits wherever and however often tasks
run. The scratch ends up with the decomposition alone, from which maps are solved and evaluated: values, basis
(V), projected (A), source_mean, target_mean.
"""

from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.dual import decompose_dual
from pipeline.fit.gram import decompose_gram, moment_names
from pipeline.fit.leave_one_out import score_left_out
from pipeline.fit.lowrank import decompose_lowrank
from pipeline.runtime.executor import Executor

_STAGES = {"gram": decompose_gram, "dual": decompose_dual, "lowrank": decompose_lowrank}
_TEMPORARY = (
    *("X", "Y", "X_sums", "Y_sums", "X_squares", "X_widest", "Y_scored", "left"),
    *("products", "sketch", "range", "core", "rotation", "missed", "left_out"),
)


def decompose(executor: Executor, store: LogitStore, scratch: Scratch, method: str) -> None:
    """Decompose the scratch's rows by `method`, unless that is done; leave nothing but the decomposition."""
    if not scratch.facts().get("decomposed"):
        _STAGES[method](executor, store, scratch)
        score_left_out(executor, store, scratch)
        scratch.remember(decomposed=True)
    for name in (*_TEMPORARY, *moment_names(scratch)):  # also what a run that was killed here has left
        scratch.discard(name)
