"""Tiles of G = Xcᵀ Xc and B = Xcᵀ Yc, as many at once as memory holds, from sweeps over a store's rows.

A sweep is one task: it reads all rows once, block by block, and needs no copy of them in the scratch. With M
bytes of running sums it does M / 4 operations a row and reads 4 (p + q) bytes for them. Which tiles share a
sweep does not affect their bits: each is summed over the same blocks in the same order.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like
from lincorr.solvers.products import Position, add_products, mirrored
from lincorr.store.prefetch import prefetch
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels, Side
from pipeline.fit.rows import FitRows
from pipeline.fit.tiles import Done, TileTask, forget_rows, opened_rows, tile_task
from pipeline.plan.memory import tiles_of_a_sweep

Thing = TypeVar("Thing")

_ROWS_AT_ONCE = 256  # in float64: products of so many are as fast as those of more


@dataclass(frozen=True, slots=True)
class SweepTask:
    """Tiles that are made in one sweep.

    Attributes:
        at: the store, the scratch, and the number of the sweep.
        positions: of the tiles.
    """

    at: TileTask
    positions: tuple[Position, ...]

    @property
    def key(self) -> str:
        """Names the task."""
        return f"products-{self.at.key}"


def sweeps(
    store: LogitStore,
    scratch: Scratch,
    rows: FitRows,
    gram: Sequence[TileTask],
    cross: Sequence[TileTask],
    workers: int,
) -> list[SweepTask]:
    """Deal the missing tiles out to sweeps, equally many for each worker.

    The tiles of G come first: later tasks wait for them.
    """
    facts, p, q = scratch.facts(), scratch.shape("source_ids")[1], scratch.shape("target_ids")[1]
    positions: list[Position] = [("gram", t.i, t.j) for t in gram] + [("cross", t.i, t.j) for t in cross]
    most = tiles_of_a_sweep(facts["panel"], p, q, rows.reading_bytes(), facts["memory_bytes"])
    return [
        SweepTask(TileTask(store.url, scratch.url, scratch.begun, k), tuple(part))
        for k, part in enumerate(deal(positions, most, workers))
    ]


def deal(things: Sequence[Thing], most: int, workers: int) -> list[list[Thing]]:
    """Cut a sequence into parts of at most `most`: as few as possible, and equally many for each worker."""
    parts = math.ceil(len(things) / max(1, most))
    parts = min(len(things), math.ceil(parts / workers) * workers)
    ends = [len(things) * k // parts for k in range(parts + 1)] if parts else []
    return [list(things[start:end]) for start, end in pairwise(ends)]


@tile_task
def sweep(task: SweepTask, scratch: Scratch, panels: Panels) -> Done:
    """Write the tiles of one sweep."""
    panels.squares.release()
    width, home = scratch.facts()["panel"], panels.means["X"]
    lefts = {i for _, i, _ in task.positions} | {j for name, _, j in task.positions if name == "gram"}
    rights = {j for name, _, j in task.positions if name == "cross"}

    def centred(side: Side, rows: NDArray[np.float32], wanted: Collection[int]) -> dict[int, Array]:
        tiles = ((j, rows[:, j * width : (j + 1) * width]) for j in sorted(wanted))
        return {j: panels.centred(side, j, like(tile, home)) for j, tile in tiles}

    fit_rows = opened_rows(task.at)
    sums: dict[Position, Array | None] = dict.fromkeys(task.positions)
    for x, y in prefetch(fit_rows.read, fit_rows.by_shard):
        for start in range(0, len(x), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            add_products(sums, centred("X", x[part], lefts), centred("Y", y[part], rights))
    forget_rows()
    written = 0
    for name, i, j in task.positions:  # released one by one
        total = sums.pop((name, i, j))
        is_square = name == "gram" and i == j
        written += scratch.write(name, i, j, mirrored(total) if is_square else total)
    return Done(rows=panels.n_rows, written=written)
