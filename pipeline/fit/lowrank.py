"""Stages of the randomised solver (`lincorr.solvers.lowrank`)."""

from dataclasses import asdict
from typing import Any

import numpy as np

from lincorr.arrays import add_product
from lincorr.solvers import lowrank
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.products import gram_tile
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.cut import cut_rows
from pipeline.fit.panels import Panels
from pipeline.fit.reduced import require_rank, run_decomposition, run_projection, save_left, write_rows
from pipeline.fit.tiles import Done, TileTask, opened, run_tiles, tile_task
from pipeline.runtime.executor import Executor

_SEED = 0  # of Ω


def decompose_lowrank(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Run the stages of lowrank, as far as their tiles are missing."""
    cut_rows(executor, store, scratch)
    (n, p), (blocks, n_panels) = scratch.shape("X"), scratch.tiles("X")
    facts = scratch.facts()
    wide, width = facts["sketch"], min(n, facts["sketch"] - lowrank.PROBES)
    scratch.create("sketch", (n, wide), (facts["block"], wide))
    scratch.create("range", (n, width), (facts["block"], width))
    scratch.create("missed", (1, 1), (1, 1))
    scratch.create("core", (width, p), (width, facts["panel"]))
    by_block, by_panel = [(i, 0) for i in range(blocks)], [(0, j) for j in range(n_panels)]
    run_tiles(executor, "sketch", sketch_rows, store, scratch, "sketch", by_block)
    run_tiles(executor, "range", find_range, store, scratch, "missed", [(0, 0)])
    run_tiles(executor, "core", project_panel, store, scratch, "core", by_panel)
    run_decomposition(executor, store, scratch, decompose_core)
    run_projection(executor, store, scratch, lowrank_basis)


@tile_task
def sketch_rows(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write ``Xc Ω`` of one block of rows."""
    wide, start, total = scratch.shape("sketch")[1], 0, None
    for tile in panels.across("X", task.i):
        omega = lowrank.gaussian(start, start + tile.shape[1], wide, _SEED, tile)
        start += tile.shape[1]
        total = tile @ omega if total is None else add_product(total, tile, omega)
    assert total is not None
    return Done(rows=total.shape[0], written=scratch.write("sketch", task.i, 0, total))


@tile_task
def find_range(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Write Q, and the bound on what it misses."""
    Q, missed = lowrank.orthonormal(scratch.load("sketch"))
    written = write_rows(scratch, "range", Q)
    scratch.write("missed", 0, 0, np.array([[missed]]))  # the commit
    return Done(written=written)


@tile_task
def project_panel(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write one panel of ``C = Qᵀ Xc``."""
    left = scratch.read_ahead("range", [(i, 0) for i in range(panels.n_blocks)])
    pairs = zip(left, panels.down("X", task.j), strict=True)
    return Done(written=scratch.write("core", 0, task.j, gram_tile(pairs)))


def decompose_core(task: TileTask) -> dict[str, Any]:
    """Decompose C panel by panel; return the rank decision."""
    scratch, panels = opened(task)
    rule = scratch.facts()["rank_rule"]
    found = lowrank.decompose(
        scratch.read_ahead("core", [(0, j) for j in range(scratch.tiles("core")[1])]),
        (panels.n_rows, panels.width("X")),
        noise=panels.noise(rule["storage_eps"]),
        rank_limit=rule["rank_limit"],
        rcond=rule["rcond"],
    )
    require_rank(found.cut)
    scratch.save("values", found.values)
    scratch.save("rotation", found.rotation)
    save_left(scratch, scratch.load("range") @ found.rotation)
    missed = float(scratch.load_host("missed")[0, 0])
    return {"cut": asdict(found.cut), "residual": missed / found.cut.sigma_1}


@tile_task
def lowrank_basis(task: TileTask, scratch: Scratch, _: Panels) -> Done:
    """Write one panel of V."""
    decided = Cut(**scratch.facts()["cut"])
    small = lowrank.Small(scratch.load("rotation"), scratch.load("values")[0, :], decided)
    basis = lowrank.basis_panel(scratch.read("core", 0, task.i), small)
    return Done(written=scratch.write("basis", task.i, 0, basis))
