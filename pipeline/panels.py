"""The rows of a streamed fit, cut once into blocks of rows and panels of columns in its scratch.

A store's shards hold whole rows; a solver that walks over columns would read everything again and again.
So a first stage writes X and Y in tiles, with the sums from which columns are centred. (`tiled` walks over
rows, `sweeps.py`, and has the sums alone.)

    X, Y                  tiles (block rows, panel columns), float32: exactly what the store has
    Y_scored              some columns of Y, for leave-one-out
    X_sums, Y_sums        (blocks, p): one row a block;  X_squares (blocks, p);  X_widest (blocks, 1)
    rows, source_ids, target_ids
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.arrays import Array, like, limit_memory, namespace
from lincorr.scratch import Scratch
from lincorr.solvers.cutoff import noise_floor
from lincorr.solvers.reduced import scored_outputs
from lincorr.store import LogitStore
from pipeline.device import array_device
from pipeline.executor import Executor, Receipt, Stage, this_worker
from pipeline.fit_rows import FitRows

Side = Literal["X", "Y"]
Doubles = NDArray[np.float64]
_SIDES: tuple[Side, ...] = ("X", "Y")
_TILING = ("block", "panel", "sketch")
SUMS_COMMIT = "X_widest"  # the last that is written of a block's sums
_LAYOUT = 2  # raised when a scratch that was begun before must not be gone on with
_LESS_MEMORY = 1.25  # times what a task may hold now: tiles that were cut for more are cut anew
_TILES_BESIDE = 8  # matrices or column blocks that stay in memory, while tiles are read, made and written


@dataclass(frozen=True, slots=True)
class TileTask:
    """One task of a stage, which most often writes one tile.

    Attributes:
        store, scratch: URLs.
        begun: which of the scratches that were ever there it is.
        i, j: its place.
    """

    store: str
    scratch: str
    begun: str
    i: int
    j: int = 0

    @property
    def key(self) -> str:
        """Names the task."""
        return f"{self.i}-{self.j}"


class Panels:
    """The cut rows, read back centred and in float64; square matrices, whose tiles may stay in memory."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._kept: dict[tuple[str, int, int], Array] = {}

    @functools.cached_property
    def n_blocks(self) -> int:
        """Blocks of rows."""
        return self._scratch.tiles("X")[0]

    @property
    def n_rows(self) -> int:
        """Rows in all."""
        return self._scratch.shape("rows")[1]

    def n_panels(self, side: Side) -> int:
        """Panels of columns."""
        return self._scratch.tiles(side)[1]

    def width(self, side: Side) -> int:
        """Columns in all."""
        return self._scratch.shape(side)[1]

    @functools.cached_property
    def means(self) -> dict[Side, Array]:
        """Mean of every column, summed in the order of the blocks."""
        sums = {side: self._scratch.load(f"{side}_sums") for side in _SIDES}
        return {side: namespace(rows).sum(rows, axis=0) / self.n_rows for side, rows in sums.items()}

    def down(self, side: Side, j: int) -> Iterator[Array]:
        """Yield the tiles of panel j, block by block, centred; the next is read meanwhile."""
        return self._centred(side, [(i, j) for i in range(self.n_blocks)])

    def across(self, side: Side, i: int) -> Iterator[Array]:
        """Yield the tiles of block i, panel by panel, centred; the next is read meanwhile."""
        return self._centred(side, [(i, j) for j in range(self.n_panels(side))])

    def _centred(self, side: Side, places: Sequence[tuple[int, int]]) -> Iterator[Array]:
        tiles = self._scratch.read_ahead(side, places)
        for (_, j), tile in zip(places, tiles, strict=True):
            yield self.centred(side, j, tile)

    def centred(self, side: Side, j: int, tile: Array) -> Array:
        """Return rows of panel j, float32, less their columns' means: float64, as these are."""
        start = j * self._panel_width
        return tile - self.means[side][start : start + tile.shape[1]]

    def square(self, name: str) -> Callable[[int, int], Array]:
        """Return what reads the lower tiles of a (p, p) matrix, each once if all of them fit into memory.

        Those of other matrices are let go.
        """
        self.forget(name)
        if not self._holds_square(name):
            return lambda i, j: self._scratch.read(name, i, j)

        def read(i: int, j: int) -> Array:
            if (name, i, j) not in self._kept:
                self._kept[name, i, j] = self._scratch.read(name, i, j)
            return self._kept[name, i, j]

        return read

    def square_in_order(
        self, name: str, places: Sequence[tuple[int, int]], column_blocks: int
    ) -> Callable[[int, int], Array]:
        """Return the same for tiles that will be asked for in this order, beside some column blocks of W.

        Where not all of them fit, the next one is read meanwhile.
        """
        if self._holds_square(name, column_blocks):
            return self.square(name)
        self.forget()
        coming = zip(places, self._scratch.read_ahead(name, places), strict=True)

        def read(i: int, j: int) -> Array:
            place, tile = next(coming)
            assert place == (i, j), "tiles are asked for in another order"
            return tile

        return read

    def most_column_blocks(self) -> int:
        """Return how many column blocks of W fit into memory, beside a few tiles."""
        tile = 8 * self._panel_width**2
        return max(1, (self._memory_bytes // tile - _TILES_BESIDE) // self._scratch.tiles("cross")[0])

    def scored(self, i: int) -> Array:
        """Return the outputs of block i that leave-one-out looks at, centred."""
        return self._scratch.read("Y_scored", i, 0) - scored(self.means["Y"])

    def noise(self, storage_eps: float) -> float:
        """Return τ of X."""
        widest, squares = (self._scratch.load_host(name) for name in ("X_widest", "X_squares"))
        return noise_floor(widest.max(axis=0), np.sqrt(squares.sum(axis=0)), storage_eps)

    def forget(self, name: str = "") -> None:
        """Let go of the tiles that are kept in memory, but for those of `name`."""
        self._kept = {key: tile for key, tile in self._kept.items() if key[0] == name}

    @functools.cached_property
    def _panel_width(self) -> int:
        return int(self._scratch.facts()["panel"])

    @functools.cached_property
    def _memory_bytes(self) -> int:
        return int(self._scratch.facts()["memory_bytes"])

    def _holds_square(self, name: str, column_blocks: int = 0) -> bool:
        """Whether a lower triangle (p, p) fits beside what a task holds: column blocks and a few tiles."""
        tiles = self._scratch.tiles(name)[0]
        held = tiles * (tiles + 1) // 2 + tiles * column_blocks + _TILES_BESIDE
        return 8 * self._panel_width**2 * held <= self._memory_bytes


def opened(task: TileTask) -> tuple[Scratch, Panels]:
    """Return a task's scratch and its panels; a worker keeps the last ones open, and what they remember.

    Their tiles live on the device that the fit asks for, where there is one.

    Raises:
        LincorrError: the fit asks for a GPU, and this worker sees none.
    """
    facts = Scratch.attach(task.scratch).facts()  # another run may go on, with other settings
    return _opened(task.scratch, task.begun, facts["device"], facts["memory_bytes"])


def opened_rows(task: TileTask) -> FitRows:
    """Return the rows of a task's fit; a worker keeps the last store open."""
    return _opened_rows(task.store, task.scratch, task.begun)


@functools.lru_cache(maxsize=1)
def _opened_rows(store: str, url: str, begun: str) -> FitRows:
    return FitRows(LogitStore.open(store), Scratch.attach(url))


def forget_rows() -> None:
    """Let go of the store that is kept open, and of an output head with it."""
    _opened_rows.cache_clear()


def scored(means: Array) -> Array:
    """Return the entries (q,) -> (m,) of the outputs that leave-one-out looks at."""
    return namespace(means).take(means, like(scored_outputs(means.shape[0]), means), axis=0)


def scratch_url(store: LogitStore, name: str) -> str:
    """Return where the scratch of a fit is."""
    return f"{store.url.rstrip('/')}/scratch/{name}"


def begin(
    store: LogitStore,
    name: str,
    inputs: str,
    *,
    templates: tuple[str, str],
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    **facts: Any,
) -> Scratch:
    """Open the scratch of one fit, in the store's folder.

    Args:
        inputs: digest of all that follows.
        facts: what tasks have to know: ``block`` and ``panel``, and what a method adds.
    """
    url = scratch_url(store, name)
    scratch = Scratch.begin(url, inputs)
    kept = scratch.facts()
    too_large = kept.get("memory_bytes", 0) > _LESS_MEMORY * facts["memory_bytes"]
    if too_large or (kept and kept.get("layout") != _LAYOUT):
        scratch = Scratch.begin(url, inputs, anew=True)
    else:  # its tiles are what they are
        facts |= {key: kept[key] for key in _TILING if key in kept}
    for key, values in (("source_ids", source_ids), ("target_ids", target_ids), ("rows", rows)):
        scratch.save(key, values.astype(np.float64))
    scratch.remember(source=templates[0], target=templates[1], layout=_LAYOUT, **facts)
    return scratch


@functools.lru_cache(maxsize=1)  # `begun`: a long-lived worker must not take an old one for a new one
def _opened(url: str, begun: str, device: str, memory_bytes: int) -> tuple[Scratch, Panels]:
    kind = array_device(device)
    limit_memory(kind, memory_bytes)
    scratch = Scratch.attach(url, kind)
    return scratch, Panels(scratch)


def cut_rows(executor: Executor, store: LogitStore, scratch: Scratch) -> None:
    """Write X and Y of the scratch's rows in tiles, those that are not there yet."""
    n, p, q = (scratch.shape(name)[1] for name in ("rows", "source_ids", "target_ids"))
    block, panel = scratch.facts()["block"], scratch.facts()["panel"]
    blocks = -(-n // block)
    for side, width in (("X", p), ("Y", q)):
        scratch.create(side, (n, width), (block, panel), np.float32)
    create_sums(scratch, blocks)
    scored = len(scored_outputs(q))
    scratch.create("Y_scored", (n, scored), (block, scored), np.float32)
    places = [(i, 0) for i in range(blocks)]
    run_tiles(executor, "cut", cut_block, store, scratch, SUMS_COMMIT, places, on_device=False)


def cut_block(task: TileTask) -> Receipt:
    """Write one block of rows, its sums last.

    Raises:
        StoreDamaged: a row is missing or damaged.
        LincorrError: a logit is not finite.
    """
    began = time.perf_counter()
    scratch, _ = opened(task)
    fit_rows = opened_rows(task)
    x, y = fit_rows.read(fit_rows.block(task.i))
    width = scratch.facts()["panel"]
    written, sides = 0, (("X", x), ("Y", y))
    for side, data in sides:
        for j in range(scratch.tiles(side)[1]):
            written += scratch.write(side, task.i, j, data[:, j * width : (j + 1) * width])
    scratch.write("Y_scored", task.i, 0, y[:, scored_outputs(y.shape[1])])
    write_sums(scratch, task.i, x, y)
    return receipt(task, began, rows=len(x), written=written)


def create_sums(scratch: Scratch, blocks: int) -> None:
    """Make room for the sums of blocks of rows."""
    for side, ids in (("X", "source_ids"), ("Y", "target_ids")):
        width = scratch.shape(ids)[1]
        scratch.create(f"{side}_sums", (blocks, width), (1, width))
    scratch.create("X_squares", scratch.shape("X_sums"), (1, scratch.shape("X_sums")[1]))
    scratch.create(SUMS_COMMIT, (blocks, 1), (1, 1))


def write_sums(scratch: Scratch, i: int, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """Write what centring and the noise floor need of block i."""
    width = scratch.facts()["panel"]
    sums: dict[str, list[Doubles]] = {"X_sums": [], "Y_sums": [], "X_squares": []}
    by_row = np.zeros(len(x))
    for name, data in (("X_sums", x), ("Y_sums", y)):
        for start in range(0, data.shape[1], width):
            panel = data[:, start : start + width].astype(np.float64)
            sums[name].append(panel.sum(axis=0))
            if data is x:
                sums["X_squares"].append(np.einsum("ij,ij->j", panel, panel))
                by_row += np.einsum("ij,ij->i", panel, panel)
    for name, found in sums.items():
        scratch.write(name, i, 0, np.concatenate(found)[None])
    scratch.write(SUMS_COMMIT, i, 0, np.sqrt(by_row.max())[None, None])


def run_tiles(
    executor: Executor,
    name: str,
    function: Any,
    store: LogitStore,
    scratch: Scratch,
    output: str,
    places: list[tuple[int, int]],
    *,
    on_device: bool = True,
) -> list[Receipt]:
    """Run a stage of tile tasks whose tiles of `output` are not there yet."""
    todo = tiles_to_do(store, scratch, output, places)
    return executor.run(Stage(name, function, todo, on_device=on_device))


def tiles_to_do(
    store: LogitStore, scratch: Scratch, output: str, places: list[tuple[int, int]]
) -> list[TileTask]:
    """Return tasks for the tiles of `output` that are not there yet."""
    return [
        TileTask(store.url, scratch.url, scratch.begun, i, j)
        for i, j in places
        if not scratch.has(output, i, j)
    ]


def receipt(task: TileTask, began: float, *, rows: int = 0, written: int = 0) -> Receipt:
    """Say what a task did."""
    seconds, ended = time.perf_counter() - began, time.time()
    return Receipt(
        key=task.key,
        worker=this_worker(),
        rows=rows,
        bytes_written=written,
        began=ended - seconds,
        ended=ended,
        compute_seconds=seconds,
        peak_bytes=psutil.Process().memory_info().rss,
    )
