"""Stages that gram, dual and lowrank share, and their result: a `Reduced` problem read from the scratch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, to_host
from lincorr.errors import LincorrError
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.products import gram_tile
from lincorr.solvers.reduced import Reduced
from lincorr.solvers.spectrum import ROOT_PENALTIES
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels
from pipeline.fit.rows import indices
from pipeline.fit.tiles import Done, TileTask, run_tiles, tile_task, wants_gpus
from pipeline.runtime.executor import Executor, Receipt, Stage

Floats = NDArray[np.floating]


def load_reduced(scratch: Scratch, method: str) -> Reduced:
    """Return the problem whose decomposition is in a scratch."""
    facts = scratch.facts()
    known = {
        round(float(root), 12): score for root, score in zip(ROOT_PENALTIES, facts["left_out"], strict=True)
    }

    def left_out(roots: Sequence[float]) -> list[float]:
        found = [known[round(root, 12)] for root in roots]
        return [float("nan") if score is None else score for score in found]

    return Reduced(
        method=method,
        source_ids=indices(scratch, "source_ids"),
        target_ids=indices(scratch, "target_ids"),
        n_rows=scratch.shape("rows")[1],
        cut=Cut(**facts["cut"]),
        values=scratch.load("values")[0],
        basis=scratch.load("basis"),
        projected=scratch.load("projected"),
        source_mean=scratch.load("source_mean")[0],
        target_mean=scratch.load("target_mean")[0],
        residual=facts["residual"],
        left_out=left_out,
    )


def run_decomposition(
    executor: Executor, store: LogitStore, scratch: Scratch, function: Callable[[TileTask], dict[str, Any]]
) -> None:
    """Run the one task that decides the rank, and store its decision in the scratch's facts."""
    if "cut" not in scratch.facts():
        task = TileTask(store.url, scratch.url, scratch.begun, 0)
        [decided] = executor.run(Stage("decompose", function, [task], on_device=wants_gpus(scratch)))
        scratch.remember(**decided)


def require_rank(cut: Cut) -> None:
    """Refuse a source of rank 0.

    Raises:
        LincorrError: no singular value is above the noise.
    """
    if cut.rank == 0:
        raise LincorrError(
            "fit: the source logits do not vary above their storage noise; choose other subjects, or set "
            "fit.rcond"
        )


def save_left(scratch: Scratch, left: Array) -> None:
    """Write U (n, r) in tiles of whole rows."""
    scratch.create("left", left.shape, (scratch.facts()["block"], left.shape[1]))
    write_rows(scratch, "left", left)


def write_rows(scratch: Scratch, name: str, matrix: Array) -> int:
    """Write a matrix in tiles of whole rows; return the bytes."""
    block, host = scratch.facts()["block"], to_host(matrix)
    starts = enumerate(range(0, len(host), block))
    return sum(scratch.write(name, i, 0, host[start : start + block]) for i, start in starts)


def run_projection(
    executor: Executor, store: LogitStore, scratch: Scratch, make_basis: Callable[[TileTask], Receipt]
) -> None:
    """Run the stages that write V and A, panel by panel."""
    (_, p), q, panel = scratch.shape("X"), scratch.shape("Y")[1], scratch.facts()["panel"]
    rank = scratch.facts()["cut"]["rank"]
    scratch.create("basis", (p, rank), (panel, rank))
    scratch.create("projected", (rank, q), (rank, panel))
    sources = [(j, 0) for j in range(scratch.tiles("X")[1])]
    targets = [(0, j) for j in range(scratch.tiles("Y")[1])]
    run_tiles(executor, "basis", make_basis, store, scratch, "basis", sources)
    run_tiles(executor, "project", project_targets, store, scratch, "projected", targets)
    means = Panels(scratch).means
    scratch.save("source_mean", means["X"])
    scratch.save("target_mean", means["Y"])


@tile_task
def project_targets(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write one panel of ``A = Uᵀ Yc``."""
    left = scratch.read_ahead("left", [(i, 0) for i in range(panels.n_blocks)])
    pairs = zip(left, panels.down("Y", task.j), strict=True)
    return Done(written=scratch.write("projected", 0, task.j, gram_tile(pairs)))
