"""Tiles of G = Xcᵀ Xc and B = Xcᵀ Yc, as many at once as memory holds, from sweeps over a store's rows.

A sweep is one task: it reads all rows once, block by block, and needs no copy of them in the scratch. With M
bytes of running sums it does M / 4 operations a row and reads 4 (p + q) bytes for them. Which tiles share a
sweep does not affect their bits: each is summed over the same blocks in the same order.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array
from lincorr.solvers.products import Position, add_products, mirrored
from lincorr.store.prefetch import prefetch
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.transfers import Landing
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
    width = scratch.facts()["panel"]
    lefts = {i for _, i, _ in task.positions} | {j for name, _, j in task.positions if name == "gram"}
    rights = {j for name, _, j in task.positions if name == "cross"}

    fit_rows = opened_rows(task.at)
    places = (
        (rows, [scratch.landing((len(rows), mean.shape[0]), np.float32) for mean in panels.means.values()])
        for rows in fit_rows.by_shard
    )

    def read(block: tuple[NDArray[np.int64], list[Landing]]) -> list[Array]:
        return [place.fill(side) for place, side in zip(block[1], fit_rows.read(block[0]), strict=True)]

    def centred(side: Side, rows: Array, wanted: Collection[int]) -> dict[int, Array]:
        parts = ((j, slice(j * width, min((j + 1) * width, rows.shape[1]))) for j in sorted(wanted))
        return {j: panels.centred(side, j, rows[:, part]) for j, part in parts}

    sums: dict[Position, Array | None] = dict.fromkeys(task.positions)
    for x, y in prefetch(read, places):
        for start in range(0, x.shape[0], _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, x.shape[0]))
            add_products(sums, centred("X", x[part, :], lefts), centred("Y", y[part, :], rights))
    forget_rows()
    written = scratch.write_behind(_made(sums))
    return Done(rows=panels.n_rows, written=written)


def _made(sums: dict[Position, Array | None]) -> Iterator[tuple[str, int, int, Array]]:
    """Yield finished tiles, and release them one by one."""
    for name, i, j in list(sums):
        total = sums.pop((name, i, j))
        yield name, i, j, mirrored(total) if name == "gram" and i == j else total
