"""Stages of the dual solver (`lincorr.solvers.dual`)."""

from dataclasses import asdict
from typing import Any

import numpy as np

from lincorr.arrays import namespace
from lincorr.solvers import dual
from lincorr.solvers.eigen import eigenvectors
from lincorr.solvers.products import gram_tile
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.cut import cut_rows
from pipeline.fit.panels import Panels
from pipeline.fit.reduced import Floats, require_rank, run_decomposition, run_projection, save_left
from pipeline.fit.tiles import Done, TileTask, opened, run_tiles, tile_task
from pipeline.runtime.executor import Executor


def decompose_dual(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Run the stages of dual, as far as their tiles are missing."""
    cut_rows(executor, store, scratch)
    n, blocks = scratch.shape("X")[0], scratch.tiles("X")[0]
    block = scratch.facts()["block"]
    scratch.create("products", (n, n), (block, block))
    lower = [(i, j) for i in range(blocks) for j in range(i + 1)]
    run_tiles(executor, "products", multiply_rows, store, scratch, "products", lower)
    run_decomposition(executor, store, scratch, decompose_products)
    run_projection(executor, store, scratch, dual_basis)


@tile_task
def multiply_rows(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write one tile of K: the products of two blocks of rows."""
    if task.i == task.j:
        pairs = ((turned, turned) for turned in (tile.T for tile in panels.across("X", task.i)))
    else:
        both = zip(panels.across("X", task.i), panels.across("X", task.j), strict=True)
        pairs = ((one.T, other.T) for one, other in both)
    return Done(written=scratch.write("products", task.i, task.j, gram_tile(pairs)))


def decompose_products(task: TileTask) -> dict[str, Any]:
    """Decompose K; return the rank decision."""
    scratch, panels = opened(task)
    rule = scratch.facts()["rank_rule"]
    found = eigenvectors(
        dual.double_centre(scratch.put(symmetric(scratch, "products"))),
        (panels.n_rows, panels.width("X")),
        noise=panels.noise(rule["storage_eps"]),
        rank_limit=rule["rank_limit"],
        rcond=rule["rcond"],
    )
    require_rank(found.cut)
    scratch.save("values", found.values)
    save_left(scratch, found.vectors)
    return {"cut": asdict(found.cut), "residual": found.residual}


@tile_task
def dual_basis(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write one panel of V."""
    blocks = list(panels.down("X", task.i))
    panel = namespace(*blocks).concat(blocks)
    basis = dual.basis_panel(panel, scratch.load("left"), scratch.load("values")[0, :])
    return Done(written=scratch.write("basis", task.i, 0, basis))


def symmetric(scratch: Scratch, name: str) -> Floats:
    """Return a symmetric matrix from its lower tiles, on the host."""
    tiles = scratch.tiles(name)[0]

    def tile(i: int, j: int) -> Floats:
        return scratch.read_host(name, i, j) if j <= i else scratch.read_host(name, j, i).T

    return np.block([[tile(i, j) for j in range(tiles)] for i in range(tiles)])
