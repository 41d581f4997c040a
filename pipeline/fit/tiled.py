"""Ridge of any size, out of core: the tiled Cholesky solver as stages of tasks.

    measure    sums of columns                                               one task a block of rows
    factor     tiles of G and B, as many as memory holds, `sweeps.py`;       one task a sweep
               σ₁² by block power steps, for λ = (fit.penalty · σ₁)²;        one task
               L_jj, then L_ij below it, once G is made                      one task a tile
    solve      column blocks of W, written into the map; their intercepts    one task for as many as fit
    certify    the normal equations, on random combinations of the targets   one task

Every task reads rows or final tiles and writes tiles, each whole and atomically: a task that is run again
writes the same bits, and an interrupted fit resumes from the tiles that it has.
"""

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lincorr.arrays import Array, namespace
from lincorr.solvers import tiled
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, relative
from lincorr.store.prefetch import prefetch
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.transfers import Departure
from pipeline.fit.measure import measure_rows
from pipeline.fit.panels import Panels
from pipeline.fit.rows import FitRows, indices
from pipeline.fit.sweeps import SweepTask, deal, sweep, sweeps
from pipeline.fit.tiles import Done, TileTask, run_tiles, tile_task, tiles_to_do, wants_gpus
from pipeline.runtime.executor import Executor, Receipt, Stage

_PROBES = 8  # random combinations of targets on which the normal equations are checked
_POWER_WIDTH = 16  # columns of the block power steps
_TEMPORARY = ("X_sums", "Y_sums", "X_squares", "X_widest", "gram", "cross", "factor")


@dataclass(frozen=True, slots=True)
class FactorTask:
    """One tile of L ("factor"), or σ₁² ("largest")."""

    output: Literal["largest", "factor"]
    tile: TileTask

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.output}-{self.tile.key}"


@dataclass(frozen=True, slots=True)
class SolveTask:
    """Some column blocks of W.

    Attributes:
        tiles: of their intercepts, and the scratch.
        relation, fit: the map that they belong to.
    """

    tiles: tuple[TileTask, ...]
    relation: str
    fit: str

    @property
    def key(self) -> str:
        """Names the task."""
        return self.at.key

    @property
    def at(self) -> TileTask:
        """The first of its tiles."""
        return self.tiles[0]


def fit_tiles(
    executor: Executor,
    store: LogitStore,
    scratch: Scratch,
    *,
    relation: str,
    fit: str,
    inputs: str,
    reason: str,
) -> None:
    """Fit the ridge map of the scratch's rows and store it; the scratch is emptied."""
    rows = FitRows(store, scratch)
    measure_rows(executor, store, scratch, rows)
    p, q, panel = scratch.shape("source_ids")[1], scratch.shape("target_ids")[1], scratch.facts()["panel"]
    for name, shape in (("gram", (p, p)), ("factor", (p, p)), ("cross", (p, q))):
        scratch.create(name, shape, (panel, panel))
    scratch.create("largest", (1, 1), (1, 1))
    tiles, blocks = scratch.tiles("cross")
    lower = [(i, j) for j in range(tiles) for i in range(j, tiles)]
    across = [(i, c) for c in range(blocks) for i in range(tiles)]
    gram, cross = (tiles_to_do(store, scratch, *one) for one in (("gram", lower), ("cross", across)))
    swept = sweeps(store, scratch, rows, gram, cross, executor.workers)
    largest = [FactorTask("largest", task) for task in tiles_to_do(store, scratch, "largest", [(0, 0)])]
    factor = [FactorTask("factor", task) for task in tiles_to_do(store, scratch, "factor", lower)]
    needs = needs_of_tiles(swept, lower)
    # sweeps are long: short tasks that can begin go before the next one
    tasks: list[SweepTask | FactorTask] = [*largest, *factor, *swept]
    executor.run(Stage("factor", make_tiles, tasks, needs=needs, on_device=wants_gpus(scratch)))
    if not store.maps.create_tiles(relation, fit, (p, q), panel, scratch.begun):
        scratch.discard("intercept")
    scratch.create("intercept", (1, q), (1, panel))
    scratch.create("probed", (2 * p, blocks * _PROBES), (2 * p, _PROBES))
    missing = tiles_to_do(store, scratch, "intercept", [(0, c) for c in range(blocks)])
    most = Panels(scratch).squares.most_column_blocks()
    solve = [SolveTask(tuple(part), relation, fit) for part in deal(missing, most, executor.workers)]
    executor.run(Stage("solve", solve_blocks, solve, on_device=wants_gpus(scratch)))
    scratch.create("residual", (1, 1), (1, 1))
    run_tiles(executor, "certify", certify, store, scratch, "residual", [(0, 0)])
    store.maps.finish_tiles(
        relation,
        fit,
        source_ids=indices(scratch, "source_ids"),
        target_ids=indices(scratch, "target_ids"),
        intercept=scratch.load("intercept")[0],
        diagnosis=_diagnosis(scratch, reason),
        inputs=inputs,
    )
    for name in _TEMPORARY:
        scratch.discard(name)


def needs_of_tiles(swept: Sequence[SweepTask], lower: Sequence[tuple[int, int]]) -> dict[str, list[str]]:
    """Return which tasks must be done before σ₁², and before each lower tile of L."""
    needs = {
        "largest-0-0": [task.key for task in swept if any(name == "gram" for name, *_ in task.positions)]
    }
    for i, j in lower:  # those further to the left are needed by the one before
        left = [f"factor-{i}-{j - 1}"] if j else []
        needs[f"factor-{i}-{j}"] = [*left, f"factor-{j}-{j}" if i > j else "largest-0-0"]
    return needs


def _diagnosis(scratch: Scratch, reason: str) -> Diagnosis:
    facts, n, p = scratch.facts(), scratch.shape("rows")[1], scratch.shape("gram")[0]
    sigma_1 = float(np.sqrt(scratch.load_host("largest")[0, 0]))
    rank = min(n - 1, p)  # with λ > 0 nothing is cut
    noise = Panels(scratch).noise(facts["rank_rule"]["storage_eps"])
    return Diagnosis(
        method=tiled.METHOD,
        reason=reason,
        n_rows=n,
        cut=Cut(rank, noise, 0.0, sigma_1, sigma_r=0.0, sigma_next=0.0),
        penalty=_penalty(scratch),
        root_penalty=facts["root_penalty"],
        normal_residual=float(scratch.load("residual")[0, 0]),
        min_norm_residual=float("nan"),
    )


def _penalty(scratch: Scratch) -> float:
    """λ = (fit.penalty · σ₁)²."""
    return float(scratch.facts()["root_penalty"] ** 2 * scratch.load_host("largest")[0, 0])


def make_tiles(task: SweepTask | FactorTask) -> Receipt:
    """Write the tiles of one task."""
    if isinstance(task, SweepTask):
        return sweep(task)
    return find_largest(task.tile) if task.output == "largest" else factor_tile(task.tile)


@tile_task
def find_largest(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write σ₁²."""
    start = scratch.put(np.random.default_rng(0).standard_normal((scratch.shape("gram")[0], _POWER_WIDTH)))
    found = tiled.largest_eigenvalue(lambda block: _gram_times(scratch, panels, block), start)
    return Done(written=scratch.write("largest", 0, 0, np.array([[found]])))


def _gram_times(scratch: Scratch, panels: Panels, block: Array) -> Array:
    """Return ``G @ block`` from the lower tiles."""
    product, panel = namespace(block).zeros_like(block), scratch.facts()["panel"]
    tiles = scratch.tiles("gram")[0]
    parts = [slice(i * panel, min((i + 1) * panel, block.shape[0])) for i in range(tiles)]
    lower = [(i, j) for i in range(tiles) for j in range(i + 1)]
    read = panels.squares.reader("gram", lower)
    for i, j in lower:
        tile = read(i, j)
        product[parts[i], :] += tile @ block[parts[j], :]
        if i != j:
            product[parts[j], :] += tile.T @ block[parts[i], :]
    return product


@tile_task
def factor_tile(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write L_ij from the tiles of the block columns before it.

    Raises:
        LincorrError: the matrix is not positive definite at a diagonal tile.
    """
    i, j = task.i, task.j
    read = panels.squares.reader("factor", tiled.order_of_factoring(i, j))
    tile = scratch.read("gram", i, j)
    if i == j:
        tile = tiled.add_to_diagonal(tile, _penalty(scratch))
        tile = tiled.factor_diagonal(tiled.downdate(tile, i, j, read), j)
    else:
        tile = tiled.factor_below(tiled.downdate(tile, i, j, read), read(j, j))
    return Done(written=scratch.write("factor", i, j, tile))


@tile_task
def solve_blocks(task: SolveTask, scratch: Scratch, panels: Panels) -> Done:
    """Solve some column blocks of W and write them into the map."""
    count, blocks = scratch.tiles("cross")[0], [tile.j for tile in task.tiles]
    read = panels.squares.reader("factor", tiled.order_of_solving(count), len(blocks))
    probed: list[list[Array]] = []

    def rows() -> Iterator[list[Array]]:
        for rights in scratch.rows_ahead("cross", range(count), blocks):
            probed.append([right @ _mix(scratch, c, right) for c, right in zip(blocks, rights, strict=True)])
            yield rights

    solved = tiled.forward(rows(), read)
    maps = LogitStore.open(task.at.store, write=True).maps

    def weights() -> Iterator[tuple[int, int, Departure]]:
        for i in tiled.backward(solved, read):
            for c, weight in zip(blocks, solved[i], strict=True):
                yield i, c, Departure(weight)

    def write(one: tuple[int, int, Departure]) -> int:
        i, c, weight = one
        return maps.write_tile(task.relation, task.fit, i, c, weight.to_host(), scratch.begun)

    written = sum(prefetch(write, weights()))
    for c, column, probes in zip(blocks, zip(*solved, strict=True), zip(*probed, strict=True), strict=True):
        _write_rest(scratch, panels, c, list(column), list(probes))
    return Done(written=written)


def _write_rest(scratch: Scratch, panels: Panels, c: int, weights: list[Array], probed: list[Array]) -> None:
    """Write the probes of a column block of W, W R below B R, for `certify`, and its intercept last."""
    probed = probed + [weight @ _mix(scratch, c, weight) for weight in weights]
    scratch.write("probed", 0, c, namespace(*probed).concat(probed))
    panel, mean = scratch.facts()["panel"], panels.means["X"]
    intercept = panels.means["Y"][c * panel : c * panel + weights[0].shape[1]]
    for i, weight in enumerate(weights):
        intercept = intercept - mean[i * panel : i * panel + weight.shape[0]] @ weight
    scratch.write("intercept", 0, c, intercept[None, :])


def _mix(scratch: Scratch, c: int, column: Array) -> Array:
    """Return R: random combinations of the targets of a column block."""
    return scratch.put(np.random.default_rng((1, c)).standard_normal((column.shape[1], _PROBES)))


@tile_task
def certify(task: TileTask, scratch: Scratch, panels: Panels) -> Done:
    """Write ``‖(G + λI) W R - B R‖ / ((σ₁² + λ) ‖W R‖ + ‖B R‖)`` for random R."""
    p = scratch.shape("gram")[0]
    probed = functools.reduce(
        operator.add, (scratch.read("probed", 0, c) for c in range(scratch.tiles("probed")[1]))
    )
    right, weights = probed[:p, :], probed[p:, :]
    norm, penalty = namespace(probed).linalg.matrix_norm, _penalty(scratch)
    off = norm(_gram_times(scratch, panels, weights) + penalty * weights - right)
    panels.squares.release()  # the last task: this process may go on to other work
    largest = float(scratch.load_host("largest")[0, 0])
    scale = (largest + penalty) * float(norm(weights)) + float(norm(right))
    residual = relative(float(off), scale)
    return Done(written=scratch.write("residual", 0, 0, np.array([[residual]])))
