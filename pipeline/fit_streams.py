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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, add_product, like, namespace, to_host
from lincorr.errors import LincorrError
from lincorr.scratch import Scratch
from lincorr.solvers import dual, gram, lowrank
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.products import gram_tile
from lincorr.solvers.reduced import LeaveOneOut, Reduced, leave_one_out_block, scored_outputs
from lincorr.solvers.spectrum import ROOT_PENALTIES
from lincorr.store import LogitStore
from lincorr.strict_json import finite
from pipeline.executor import Executor, Receipt, Stage
from pipeline.fit_rows import indices
from pipeline.panels import (
    Panels,
    TileTask,
    cut_rows,
    opened,
    opened_rows,
    receipt,
    run_tiles,
    scored,
)

_GROUPS = 16  # of rows whose moments are kept apart, at most; fixed, so that the tree is
_PACKED = 7  # rows of a packed `LeaveOneOut`
_SEED = 0  # of Ω
_TEMPORARY = (
    *("X", "Y", "X_sums", "Y_sums", "X_squares", "X_widest", "Y_scored", "left"),
    *("products", "sketch", "range", "core", "rotation", "missed", "left_out"),
)

Floats = NDArray[np.floating]


def decompose(executor: Executor, store: LogitStore, scratch: Scratch, method: str) -> None:
    """Decompose the scratch's rows by `method`; nothing is done where it is done."""
    if scratch.facts().get("decomposed"):
        return
    {"gram": _gram, "dual": _dual, "lowrank": _lowrank}[method](executor, store, scratch)
    _leave_one_out(executor, store, scratch)
    scratch.remember(decomposed=True)
    for name in (*_TEMPORARY, *_moment_names(scratch)):
        scratch.discard(name)


def load_reduced(scratch: Scratch, method: str) -> Reduced:
    """Return the decomposition that a scratch keeps."""
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


# --- gram ---------------------------------------------------------------------------------------------


def _gram(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    n, p = scratch.shape("rows")[1], scratch.shape("source_ids")[1]
    q, block = scratch.shape("target_ids")[1], scratch.facts()["block"]
    groups = min(_GROUPS, -(-n // block))
    for level, count in enumerate(_levels(groups)):
        for k in range(count):
            name = _node(level, k)
            for part, width in (("mean_x", p), ("mean_y", q), ("counts", 2)):
                scratch.create(f"{name}/{part}", (1, width), (1, width))
            scratch.create(f"{name}/xx", (p, p), (p, p))
            scratch.create(f"{name}/xy", (p, q), (p, q))
    scratch.remember(groups=groups)
    for level, count in enumerate(_levels(groups)):
        todo = [
            TileTask(store.url, scratch.url, scratch.begun, level, k)
            for k in range(count)
            if not scratch.has(f"{_node(level, k)}/counts", 0, 0)
        ]
        executor.run(Stage("moments", merge_moments if level else sum_moments, todo, on_device=True))
    _decomposition(executor, store, scratch, decompose_moments)
    scratch.save("target_mean", _load_moments(scratch, *_top(groups)).mean_y)


def _levels(groups: int) -> list[int]:
    """Return how many nodes each level of the merge tree has, leaves first."""
    counts = [groups]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // 2))
    return counts


def _top(groups: int) -> tuple[int, int]:
    return len(_levels(groups)) - 1, 0


def _node(level: int, k: int) -> str:
    return f"moments-{level}-{k}"


def _moment_names(scratch: Scratch) -> list[str]:
    groups = scratch.facts().get("groups")
    return [] if groups is None else [_node(i, k) for i, n in enumerate(_levels(groups)) for k in range(n)]


def _load_moments(scratch: Scratch, level: int, k: int) -> gram.Moments:
    node = _node(level, k)
    count, largest = scratch.load_host(f"{node}/counts")[0]
    mean_x, mean_y = (scratch.load(f"{node}/mean_{side}")[0, :] for side in "xy")
    xx, xy = (scratch.load(f"{node}/{part}") for part in ("xx", "xy"))
    return gram.Moments(int(count), mean_x, mean_y, xx, xy, float(largest))


def _save_moments(scratch: Scratch, level: int, k: int, moments: gram.Moments) -> int:
    name = _node(level, k)
    rows = {
        "mean_x": moments.mean_x[None, :],
        "mean_y": moments.mean_y[None, :],
        "xx": moments.xx,
        "xy": moments.xy,
    }
    written = sum(scratch.write(f"{name}/{part}", 0, 0, value) for part, value in rows.items())
    counts = np.array([[moments.count, moments.largest_row]])
    return written + scratch.write(f"{name}/counts", 0, 0, counts)  # the commit


def sum_moments(task: TileTask) -> Receipt:
    """Sum the moments of one group of blocks of rows."""
    began = time.perf_counter()
    scratch, _ = opened(task)
    total = None
    rows, fit_rows = 0, opened_rows(task)
    for i in _blocks_of(scratch, task.j):
        x, y = fit_rows.read(fit_rows.block(i))
        rows += len(x)
        moments = gram.Moments.of(scratch.put(x), scratch.put(y))
        total = moments if total is None else total.merge(moments)
    assert total is not None
    return receipt(task, began, rows=rows, written=_save_moments(scratch, 0, task.j, total))


def _blocks_of(scratch: Scratch, group: int) -> range:
    """Return the blocks of a group: all groups have nearly as many."""
    facts = scratch.facts()
    blocks = -(-scratch.shape("rows")[1] // facts["block"])
    return range(group * blocks // facts["groups"], (group + 1) * blocks // facts["groups"])


def merge_moments(task: TileTask) -> Receipt:
    """Merge two nodes of the level below; an odd last one is handed on."""
    began = time.perf_counter()
    scratch, _ = opened(task)
    level, k = task.i, task.j
    merged = _load_moments(scratch, level - 1, 2 * k)
    if 2 * k + 1 < _levels(scratch.facts()["groups"])[level - 1]:
        merged = merged.merge(_load_moments(scratch, level - 1, 2 * k + 1))
    return receipt(task, began, written=_save_moments(scratch, level, k, merged))


def decompose_moments(task: TileTask) -> dict[str, Any]:
    """Decompose the merged moments; return the rank decision."""
    scratch, _ = opened(task)
    facts = scratch.facts()
    found = gram.gram(
        _load_moments(scratch, *_top(facts["groups"])),
        lambda _: [],
        source_ids=indices(scratch, "source_ids"),
        target_ids=indices(scratch, "target_ids"),
        **facts["rank_rule"],
    )
    require_rank(found.cut)
    for name in ("values", "basis", "projected", "source_mean"):
        scratch.save(name, getattr(found, name))
    return {"cut": asdict(found.cut), "residual": found.residual}


# --- dual ---------------------------------------------------------------------------------------------


def _dual(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    cut_rows(executor, store, scratch)
    n, blocks = scratch.shape("X")[0], scratch.tiles("X")[0]
    block = scratch.facts()["block"]
    scratch.create("products", (n, n), (block, block))
    lower = [(i, j) for i in range(blocks) for j in range(i + 1)]
    run_tiles(executor, "products", multiply_rows, store, scratch, "products", lower)
    _decomposition(executor, store, scratch, decompose_products)
    _project(executor, store, scratch, dual_basis)


def multiply_rows(task: TileTask) -> Receipt:
    """Write one tile of K: the products of two blocks of rows."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    if task.i == task.j:
        pairs = ((turned, turned) for turned in (tile.T for tile in panels.across("X", task.i)))
    else:
        both = zip(panels.across("X", task.i), panels.across("X", task.j), strict=True)
        pairs = ((one.T, other.T) for one, other in both)
    return receipt(task, began, written=scratch.write("products", task.i, task.j, gram_tile(pairs)))


def decompose_products(task: TileTask) -> dict[str, Any]:
    """Decompose K; return the rank decision."""
    scratch, panels = opened(task)
    rule = scratch.facts()["rank_rule"]
    found = dual.decompose(
        dual.double_centre(scratch.put(symmetric(scratch, "products"))),
        panels.width("X"),
        noise=panels.noise(rule["storage_eps"]),
        rank_limit=rule["rank_limit"],
        rcond=rule["rcond"],
    )
    require_rank(found.cut)
    scratch.save("values", found.values)
    _save_left(scratch, found.left)
    return {"cut": asdict(found.cut), "residual": found.residual}


def dual_basis(task: TileTask) -> Receipt:
    """Write one panel of V."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    blocks = list(panels.down("X", task.i))
    panel = namespace(*blocks).concat(blocks)
    basis = dual.basis_panel(panel, scratch.load("left"), scratch.load("values")[0, :])
    return receipt(task, began, written=scratch.write("basis", task.i, 0, basis))


# --- lowrank ------------------------------------------------------------------------------------------


def _lowrank(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
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
    _decomposition(executor, store, scratch, decompose_core)
    _project(executor, store, scratch, lowrank_basis)


def sketch_rows(task: TileTask) -> Receipt:
    """Write ``Xc Ω`` of one block of rows."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    wide, start, total = scratch.shape("sketch")[1], 0, None
    for tile in panels.across("X", task.i):
        omega = lowrank.gaussian(start, start + tile.shape[1], wide, _SEED, tile)
        start += tile.shape[1]
        total = tile @ omega if total is None else add_product(total, tile, omega)
    assert total is not None
    return receipt(task, began, rows=total.shape[0], written=scratch.write("sketch", task.i, 0, total))


def find_range(task: TileTask) -> Receipt:
    """Write Q, and the bound on what it misses."""
    began = time.perf_counter()
    scratch, _ = opened(task)
    Q, missed = lowrank.orthonormal(scratch.load("sketch"))
    written = write_rows(scratch, "range", Q)
    scratch.write("missed", 0, 0, np.array([[missed]]))  # the commit
    return receipt(task, began, written=written)


def project_panel(task: TileTask) -> Receipt:
    """Write one panel of ``C = Qᵀ Xc``."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    left = scratch.read_ahead("range", [(i, 0) for i in range(panels.n_blocks)])
    pairs = zip(left, panels.down("X", task.j), strict=True)
    return receipt(task, began, written=scratch.write("core", 0, task.j, gram_tile(pairs)))


def decompose_core(task: TileTask) -> dict[str, Any]:
    """Decompose C panel by panel; return the rank decision."""
    scratch, panels = opened(task)
    rule = scratch.facts()["rank_rule"]
    n_panels = scratch.tiles("core")[1]
    triangles = [lowrank.triangle(scratch.read("core", 0, j)) for j in range(n_panels)]
    found = lowrank.decompose(
        namespace(*triangles).concat(triangles),
        (panels.n_rows, panels.width("X")),
        noise=panels.noise(rule["storage_eps"]),
        rank_limit=rule["rank_limit"],
        rcond=rule["rcond"],
    )
    require_rank(found.cut)
    scratch.save("values", found.values)
    scratch.save("rotation", found.rotation)
    _save_left(scratch, scratch.load("range") @ found.rotation)
    missed = float(scratch.load_host("missed")[0, 0])
    return {"cut": asdict(found.cut), "residual": missed / found.cut.sigma_1}


def lowrank_basis(task: TileTask) -> Receipt:
    """Write one panel of V."""
    began = time.perf_counter()
    scratch, _ = opened(task)
    decided = Cut(**scratch.facts()["cut"])
    small = lowrank.Small(scratch.load("rotation"), scratch.load("values")[0, :], decided)
    basis = lowrank.basis_panel(scratch.read("core", 0, task.i), small)
    return receipt(task, began, written=scratch.write("basis", task.i, 0, basis))


# --- what they share ----------------------------------------------------------------------------------


def _decomposition(
    executor: Executor, store: LogitStore, scratch: Scratch, function: Callable[[TileTask], dict[str, Any]]
) -> None:
    """Run the one task that decides the rank, and remember what it decided."""
    if "cut" not in scratch.facts():
        task = TileTask(store.url, scratch.url, scratch.begun, 0)
        [decided] = executor.run(Stage("decompose", function, [task], on_device=True))
        scratch.remember(**decided)


def require_rank(cut: Cut) -> None:
    """Refuse a source that has nothing to decompose.

    Raises:
        LincorrError: no singular value is above the noise.
    """
    if cut.rank == 0:
        raise LincorrError(
            "fit: the source logits do not vary above their storage noise; choose other subjects, or set "
            "fit.rcond"
        )


def _save_left(scratch: Scratch, left: Array) -> None:
    scratch.create("left", left.shape, (scratch.facts()["block"], left.shape[1]))
    write_rows(scratch, "left", left)


def write_rows(scratch: Scratch, name: str, matrix: Array) -> int:
    """Write a whole matrix in its tiles of whole rows; return the bytes."""
    block, host = scratch.facts()["block"], to_host(matrix)
    starts = enumerate(range(0, len(host), block))
    return sum(scratch.write(name, i, 0, host[start : start + block]) for i, start in starts)


def symmetric(scratch: Scratch, name: str) -> Floats:
    """Return a symmetric matrix of which the lower tiles are kept, on the host."""
    tiles = scratch.tiles(name)[0]

    def tile(i: int, j: int) -> Floats:
        return scratch.read_host(name, i, j) if j <= i else scratch.read_host(name, j, i).T

    return np.block([[tile(i, j) for j in range(tiles)] for i in range(tiles)])


def _project(
    executor: Executor, store: LogitStore, scratch: Scratch, make_basis: Callable[[TileTask], Receipt]
) -> None:
    """Make V and A panel by panel."""
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


def project_targets(task: TileTask) -> Receipt:
    """Write one panel of ``A = Uᵀ Yc``."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    left = scratch.read_ahead("left", [(i, 0) for i in range(panels.n_blocks)])
    pairs = zip(left, panels.down("Y", task.j), strict=True)
    return receipt(task, began, written=scratch.write("projected", 0, task.j, gram_tile(pairs)))


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
