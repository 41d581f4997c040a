"""Tiles of G = Xcᵀ Xc and B = Xcᵀ Yc, as many at once as memory holds, from sweeps over a store's rows.

    measure    the sums from which columns are centred, and the noise floor         one task a block of rows
    products   running sums of some tiles of G and B; the rows, block by block      one task a sweep

A sweep reads all rows once and needs no copy of them in the scratch. With M bytes of running sums it does
M / 4 operations a row and reads 4 (p + q) bytes for them. Which tiles share a sweep does not touch
their bits: each is summed over the same blocks in the same order.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like
from lincorr.solvers.products import Place, add_products, mirrored
from lincorr.store.prefetch import prefetch
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.cut import SUMS_COMMIT, create_sums, write_sums
from pipeline.fit.panels import Side
from pipeline.fit.rows import FitRows
from pipeline.fit.tiles import TileTask, forget_rows, opened, opened_rows, receipt, run_tiles
from pipeline.plan.memory import tiles_of_a_sweep
from pipeline.runtime.executor import Executor, Receipt

Thing = TypeVar("Thing")

_ROWS_AT_ONCE = 256  # in float64: products of so many are as fast as those of more


@dataclass(frozen=True, slots=True)
class SweepTask:
    """Tiles that are made in one sweep.

    Attributes:
        at: the store, the scratch, and the number of the sweep.
        places: of the tiles.
    """

    at: TileTask
    places: tuple[Place, ...]

    @property
    def key(self) -> str:
        """Names the task."""
        return f"products-{self.at.key}"


def measure_rows(executor: Executor, store: LogitStore, scratch: Scratch, rows: FitRows) -> None:
    """Write the sums of all blocks of rows, those that are not there yet."""
    blocks = len(rows.by_shard)
    create_sums(scratch, blocks)
    places = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "measure", measure_block, store, scratch, SUMS_COMMIT, places, on_device=False)


def measure_block(task: TileTask) -> Receipt:
    """Write the sums of one block of rows.

    Raises:
        StoreDamaged: a row is missing or damaged.
        LincorrError: a logit is not finite.
    """
    began = time.perf_counter()
    scratch, _ = opened(task)
    rows = opened_rows(task)
    x, y = rows.read(rows.by_shard[task.i])
    write_sums(scratch, task.i, x, y)
    return receipt(task, began, rows=len(x))


def sweeps(
    store: LogitStore,
    scratch: Scratch,
    rows: FitRows,
    gram: Sequence[TileTask],
    cross: Sequence[TileTask],
    workers: int,
) -> list[SweepTask]:
    """Deal the tiles that are to be made out to sweeps, as many for each worker.

    The tiles of G come first, for others wait for them.
    """
    facts, p, q = scratch.facts(), scratch.shape("source_ids")[1], scratch.shape("target_ids")[1]
    places: list[Place] = [("gram", t.i, t.j) for t in gram] + [("cross", t.i, t.j) for t in cross]
    most = tiles_of_a_sweep(facts["panel"], p, q, rows.reading_bytes(), facts["memory_bytes"])
    return [
        SweepTask(TileTask(store.url, scratch.url, scratch.begun, k), tuple(part))
        for k, part in enumerate(deal(places, most, workers))
    ]


def deal(things: Sequence[Thing], most: int, workers: int) -> list[list[Thing]]:
    """Cut a row of things into parts of `most` at most, as few as can be, and as many for each worker."""
    parts = math.ceil(len(things) / max(1, most))
    parts = min(len(things), math.ceil(parts / workers) * workers)
    ends = [len(things) * k // parts for k in range(parts + 1)] if parts else []
    return [list(things[start:end]) for start, end in pairwise(ends)]


def sweep(task: SweepTask) -> Receipt:
    """Write the tiles of one sweep."""
    began = time.perf_counter()
    scratch, panels = opened(task.at)
    panels.forget()
    width, home = scratch.facts()["panel"], panels.means["X"]
    lefts = {i for _, i, _ in task.places} | {j for name, _, j in task.places if name == "gram"}
    rights = {j for name, _, j in task.places if name == "cross"}

    def centred(side: Side, rows: NDArray[np.float32], wanted: Collection[int]) -> dict[int, Array]:
        tiles = ((j, rows[:, j * width : (j + 1) * width]) for j in sorted(wanted))
        return {j: panels.centred(side, j, like(tile, home)) for j, tile in tiles}

    fit_rows = opened_rows(task.at)
    sums: dict[Place, Array | None] = dict.fromkeys(task.places)
    for x, y in prefetch(fit_rows.read, fit_rows.by_shard):
        for start in range(0, len(x), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            add_products(sums, centred("X", x[part], lefts), centred("Y", y[part], rights))
    forget_rows()
    written = 0
    for name, i, j in task.places:  # let go of one by one
        total = sums.pop((name, i, j))
        is_square = name == "gram" and i == j
        written += scratch.write(name, i, j, mirrored(total) if is_square else total)
    return receipt(task.at, began, rows=panels.n_rows, written=written)
