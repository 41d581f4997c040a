"""Ridge of any size, out of core: the tiled Cholesky solver as stages of tile tasks.

    cut        rows -> X, Y in tiles
    factor     G_ij (i >= j); σ₁² by block power steps, for λ = (fit.penalty · σ₁)²; L_jj, then L_ij below it;
               and, while those wait for each other, the products B_ij       one task a tile
    solve      a column block of W, written into the map; its intercept      one task a block
    certify    the normal equations, on random combinations of the targets   one task

Every task reads final tiles and writes one (a column block, when solving), whole and atomically: a task that
is run again writes the same bits, and a fit that was cut short goes on from the tiles that are there.
"""

import functools
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.metrics import Correlation, CrossMoments
from lincorr.scratch import Scratch
from lincorr.solvers import tiled
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, LinearMap, relative
from lincorr.store import LogitStore
from pipeline.executor import Executor, Receipt, Stage
from pipeline.panels import Panels, TileTask, cut_rows, indices, opened, receipt, run_tiles, tiles_to_do

_PROBES = 8  # random combinations of targets on which the normal equations are checked
_POWER_WIDTH = 16
_TEMPORARY = ("X", "Y", "X_sums", "Y_sums", "X_squares", "X_widest", "Y_scored", "gram", "cross", "factor")

Read = Callable[[int, int], Array]
Matrix = Literal["gram", "largest", "factor", "cross"]


@dataclass(frozen=True, slots=True)
class MatrixTask:
    """One tile of G ("gram"), L ("factor") or B ("cross"), or σ₁² ("largest")."""

    output: Matrix
    tile: TileTask

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.output}-{self.tile.key}"


@dataclass(frozen=True, slots=True)
class SolveTask:
    """One column block of W.

    Attributes:
        tile: its place, and the scratch.
        relation, fit: the map that it belongs to.
    """

    tile: TileTask
    relation: str
    fit: str

    @property
    def key(self) -> str:
        """Names the task."""
        return self.tile.key


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
    """Fit the ridge map of the scratch's rows and keep it; the scratch is left empty."""
    cut_rows(executor, store, scratch)
    (_, p), q, panel = scratch.shape("X"), scratch.shape("Y")[1], scratch.facts()["panel"]
    tiles, blocks = scratch.tiles("X")[1], scratch.tiles("Y")[1]
    for name, shape in (("gram", (p, p)), ("factor", (p, p)), ("cross", (p, q))):
        scratch.create(name, shape, (panel, panel))
    scratch.create("largest", (1, 1), (1, 1))
    # what is long in the making comes first; a worker keeps a panel of X in memory, and the last one of G is
    # the first one of B (but where σ₁² is found in between)
    lower = [(i, j) for j in range(tiles) for i in range(j, tiles)]
    across = [(i, c) for i in reversed(range(tiles)) for c in range(blocks)]
    places: dict[Matrix, list[tuple[int, int]]]
    places = {"gram": lower, "largest": [(0, 0)], "factor": lower, "cross": across}
    todo = [MatrixTask(m, task) for m in places for task in tiles_to_do(store, scratch, m, places[m])]
    executor.run(Stage("factor", make_tile, todo, needs=needs_of_tiles(lower), on_device=True))
    for name in ("X", "Y"):  # half of the scratch, and its room is taken by W
        scratch.discard(name)
    if not store.maps.create_tiles(relation, fit, (p, q), panel, inputs):
        scratch.discard("intercept")
    scratch.create("intercept", (1, q), (1, panel))
    scratch.create("probed", (2 * p, blocks * _PROBES), (2 * p, _PROBES))
    lacking = tiles_to_do(store, scratch, "intercept", [(0, c) for c in range(blocks)])
    solve = [SolveTask(task, relation, fit) for task in lacking]
    executor.run(Stage("solve", solve_block, solve, on_device=True))
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


def needs_of_tiles(lower: Sequence[tuple[int, int]]) -> dict[str, list[str]]:
    """Return which tiles must be there before σ₁², and before each lower tile of L."""
    needs = {"largest-0-0": [f"gram-{i}-{j}" for i, j in lower]}
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


# --- tasks --------------------------------------------------------------------------------------------


def make_tile(task: MatrixTask) -> Receipt:
    """Write one tile."""
    return _MAKERS[task.output](task.tile)


def multiply_sources(task: TileTask) -> Receipt:
    """Write ``G_ij = Xc_iᵀ Xc_j``; panel j stays in memory for the next task, where it fits."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    kept = panels.panel("X", task.j)
    if task.i == task.j:
        tile = tiled.gram_tile((block, block) for block in kept)
    else:
        tile = tiled.gram_tile(zip(panels.down("X", task.i), kept, strict=True))
    return receipt(task, began, written=scratch.write("gram", task.i, task.j, tile))


def multiply_targets(task: TileTask) -> Receipt:
    """Write ``B_ij = Xc_iᵀ Yc_j``; panel i of X stays in memory for the next task, where it fits."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    kept = panels.panel("X", task.i)
    tile = tiled.gram_tile(zip(kept, panels.down("Y", task.j), strict=True))
    return receipt(task, began, written=scratch.write("cross", task.i, task.j, tile))


def find_largest(task: TileTask) -> Receipt:
    """Write σ₁²."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    panels.forget()
    start = scratch.put(np.random.default_rng(0).standard_normal((scratch.shape("gram")[0], _POWER_WIDTH)))
    read = panels.square("gram")
    found = tiled.largest_eigenvalue(lambda block: _gram_times(scratch, block, read), start)
    panels.forget()
    return receipt(task, began, written=scratch.write("largest", 0, 0, np.array([[found]])))


def _gram_times(scratch: Scratch, block: Array, read: Read) -> Array:
    """Return ``G @ block`` from the lower tiles."""
    product, panel = namespace(block).zeros_like(block), scratch.facts()["panel"]
    tiles = scratch.tiles("gram")[0]
    parts = [slice(i * panel, min((i + 1) * panel, block.shape[0])) for i in range(tiles)]
    for i in range(tiles):
        for j in range(i + 1):
            tile = read(i, j)
            product[parts[i], :] += tile @ block[parts[j], :]
            if i != j:
                product[parts[j], :] += tile.T @ block[parts[i], :]
    return product


def factor_tile(task: TileTask) -> Receipt:
    """Write L_ij from the tiles of the block columns before it.

    Raises:
        LincorrError: the matrix is not positive definite at a diagonal tile.
    """
    began = time.perf_counter()
    scratch, panels = opened(task)
    read, (i, j) = panels.square("factor"), (task.i, task.j)
    tile = scratch.read("gram", i, j)
    if i == j:
        tile = tiled.add_to_diagonal(tile, _penalty(scratch))
        tile = tiled.factor_diagonal(tiled.downdate(tile, i, j, read), j)
    else:
        tile = tiled.factor_below(tiled.downdate(tile, i, j, read), read(j, j))
    return receipt(task, began, written=scratch.write("factor", i, j, tile))


_MAKERS: dict[Matrix, Callable[[TileTask], Receipt]] = {
    "gram": multiply_sources,
    "largest": find_largest,
    "factor": factor_tile,
    "cross": multiply_targets,
}


def solve_block(task: SolveTask) -> Receipt:
    """Solve one column block of W and write it into the map; the intercept is written last.

    Also writes R W and R B for a few random combinations R of this block's targets, for `certify`.
    """
    began = time.perf_counter()
    scratch, panels = opened(task.tile)
    panels.forget("factor")
    c, tiles = task.tile.j, scratch.tiles("cross")[0]
    read = panels.square_in_order("factor", tiled.order_of_reading(tiles))
    right = [scratch.read("cross", i, c) for i in range(tiles)]
    mix = scratch.put(np.random.default_rng((1, c)).standard_normal((right[0].shape[1], _PROBES)))
    probed = [tile @ mix for tile in right]
    weights = tiled.backward(tiled.forward(right, read), read)
    probed += [tile @ mix for tile in weights]
    scratch.write("probed", 0, c, namespace(*probed).concat(probed))
    maps = LogitStore.open(task.tile.store, write=True).maps
    written = sum(
        maps.write_tile(task.relation, task.fit, i, c, to_host(tile)) for i, tile in enumerate(weights)
    )
    panel, mean = scratch.facts()["panel"], panels.means["X"]
    intercept = panels.means["Y"][c * panel : c * panel + mix.shape[0]]
    for i, tile in enumerate(weights):
        intercept = intercept - mean[i * panel : i * panel + tile.shape[0]] @ tile
    scratch.write("intercept", 0, c, intercept[None, :])
    return receipt(task.tile, began, written=written)


def certify(task: TileTask) -> Receipt:
    """Write ``‖(G + λI) W R - B R‖ / ((σ₁² + λ) ‖W R‖ + ‖B R‖)`` for random R."""
    began = time.perf_counter()
    scratch, panels = opened(task)
    panels.forget()
    p = scratch.shape("gram")[0]
    probed = functools.reduce(
        operator.add, (scratch.read("probed", 0, c) for c in range(scratch.tiles("probed")[1]))
    )
    right, weights = probed[:p, :], probed[p:, :]
    norm, penalty = namespace(probed).linalg.matrix_norm, _penalty(scratch)
    off = norm(_gram_times(scratch, weights, panels.square("gram")) + penalty * weights - right)
    largest = float(scratch.load_host("largest")[0, 0])
    scale = (largest + penalty) * float(norm(weights)) + float(norm(right))
    residual = relative(float(off), scale)
    return receipt(task, began, written=scratch.write("residual", 0, 0, np.array([[residual]])))


# --- evaluation ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A map that is kept, as a problem that is solved already, for its one penalty.

    Its solution is the identity: it is scored on the moments of predictions and truths.
    """

    fitted: LinearMap

    @property
    def method(self) -> str:
        """Name of the solver."""
        return self.fitted.diagnosis.method

    @property
    def cut(self) -> Cut:
        """The rank decision."""
        return self.fitted.diagnosis.cut

    @property
    def n_rows(self) -> int:
        """Rows that were fitted."""
        return self.fitted.diagnosis.n_rows

    def coefficients(self, penalty: float) -> Array:
        """Return the identity, (q, q).

        Raises:
            ValueError: it was fitted with another penalty.
        """
        kept = self.fitted.diagnosis.penalty
        if abs(penalty - kept) > 1e-9 * kept:
            raise ValueError("a tiled map is solved for one penalty")
        return np.eye(len(self.fitted.target_ids))

    def leave_one_out_scores(self, root_penalties: object) -> list[float]:
        """There are none: each would cost a fit.

        Raises:
            ValueError: always.
        """
        raise ValueError("a tiled map has no leave-one-out scores")

    def certificates(self, solution: Array, penalty: float) -> tuple[float, float]:
        """Return those that were kept."""
        return self.fitted.diagnosis.normal_residual, self.fitted.diagnosis.min_norm_residual

    def to_map(self, solution: Array, diagnosis: Diagnosis) -> LinearMap:
        """Return the kept map."""
        return self.fitted

    def rows(self, solution: Array, positions: NDArray[np.int64]) -> Array:
        """Return rows of W."""
        return self.fitted.weights[positions, np.arange(len(self.fitted.target_ids))]

    def coordinates(self, source: Array) -> Array:
        """Return predictions (n, q) for source logits (n, p)."""
        return self.fitted.predict(source)

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score on the moments of predictions and target logits."""
        nothing = like(np.zeros(len(self.fitted.target_ids)), moments.xx)
        return moments.correlation(solution, nothing)
