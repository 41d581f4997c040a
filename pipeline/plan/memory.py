"""What a worker may hold: the one place that divides memory.

`fit_memory` bounds a task of a fit; the other functions say how rows, tiles and copies share that bound.
Sizes are in bytes of this machine, or of the worker where a task runs.
"""

import re
from collections.abc import Iterable

from lincorr.errors import BadInput
from lincorr.model.device import threads_in_use
from lincorr.solvers.choose import Choice, largest_tile
from pipeline.config import ClusterSettings, FitSettings
from pipeline.plan.costs import FIT_LIBRARY_BYTES, FitSizes
from pipeline.runtime.machine import available_bytes, cores

_ON_OTHER_MACHINES = ("address", "ssh", "slurm", "kubernetes")
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BINARY_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

ROW_BYTES = 24  # a number of a row: float32, being read and checked, and read ahead; some of it in float64
_PANEL = 2048  # rows and columns of a tile where memory does not say otherwise
_FEWEST_ROWS = 64  # in a block, however wide they are
_MOST_ROWS = 4096  # in a block of held-out rows
_TILES_BESIDE = 8  # tiles that are read ahead, made and written, beside what stays in memory
_LESS_MEMORY = 1.25  # times what a task may hold now: tiles that were cut for more are cut anew
_PRODUCTS = 8  # square float64 arrays that a study holds at once
_MOST_STATES = 8192  # whose singular values take a minute or two on two cores
_EVALUATION = 1.25  # what evaluation holds, as a multiple of what a fit does


# --- a task of a fit -----------------------------------------------------------------------------------


def fit_memory(
    settings: FitSettings, cluster: ClusterSettings | None = None, *, host_bytes: int | None = None
) -> int:
    """Return the bytes that a task may hold while fitting.

    fit.memory less the libraries; by default half of this process's memory, or, for workers on other machines
    whose memory is configured, that less the libraries.

    Args:
        cluster: where the workers are; None is this machine.
        host_bytes: memory of the host that fits; None is what this machine has available now.

    Raises:
        BadInput: it is less than the libraries take, or cluster.memory is not a size.
    """
    if settings.memory is not None:
        return _without_libraries(int(settings.memory * 1e9), "fit.memory")
    if host_bytes is None:
        if cluster and cluster.kind in _ON_OTHER_MACHINES and cluster.memory:
            of_a_worker = _parse_bytes(cluster.memory) // cluster.workers_per_job
            return _without_libraries(of_a_worker, "cluster.memory")
        host_bytes = available_bytes()
    return host_bytes // 2


def memory_note(settings: FitSettings, cluster: ClusterSettings) -> str | None:
    """Say where fits on other machines are bounded by this machine's memory, for no setting says theirs."""
    if settings.memory is not None or cluster.kind not in _ON_OTHER_MACHINES or cluster.memory:
        return None
    return (
        f"Workers of cluster.kind {cluster.kind} may hold half of the memory available on this machine; "
        "set fit.memory to what they have."
    )


def _without_libraries(given: int, setting: str) -> int:
    left = given - FIT_LIBRARY_BYTES
    if left <= 0:
        raise BadInput(
            f"{setting}: {given / 1e9:g} GB is what a worker's libraries take; give it "
            f"{2 * FIT_LIBRARY_BYTES / 1e9:.1f} or more"
        )
    return left


def _parse_bytes(text: str) -> int:
    """Read a size as 64GB or 64 GiB; one without a unit is in bytes."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if found is None:
        raise BadInput(f"cluster.memory: {text!r} is not a size; write it as 64GB")
    units = _BINARY_UNITS if found[3] else _UNITS
    return int(float(found[1]) * units[found[2]])


# --- blocks of rows and tiles --------------------------------------------------------------------------


def tiling(method: str, p: int, q: int, memory_bytes: int) -> tuple[int, int]:
    """Return the rows of a block, and the rows and columns of a tile, of an out-of-core fit."""
    tile = largest_tile(p, memory_bytes) if method == "tiled" else _PANEL
    # gram and tiled hold float64 rows beside their sums; the others cut them as they are stored
    row_bytes = {"gram": 64, "tiled": 2 * ROW_BYTES}.get(method, 8) * (p + q)
    fitting = memory_bytes // row_bytes
    return max(_FEWEST_ROWS, fitting if method == "tiled" else min(tile, fitting)), tile


def must_cut_anew(cut_for: int, memory_bytes: int) -> bool:
    """Whether tiles that were cut for tasks of `cut_for` bytes are too large for tasks of `memory_bytes`."""
    return cut_for > _LESS_MEMORY * memory_bytes


def reading_bytes(height: int, rest: int, p: int, q: int, head: int) -> int:
    """Return what reading blocks of rows, one ahead, holds at most.

    Args:
        height: rows of the largest block.
        rest: rows of a shard that are read with them, and released.
        head: bytes of an output head that makes their logits, or 0.
    """
    return ROW_BYTES * height * (p + q) + 8 * rest * max(p, q) + head


def tiles_of_a_sweep(panel: int, p: int, q: int, reading: int, memory_bytes: int) -> int:
    """Return how many running sums fit beside the rows being read; less than 1 where none does.

    Args:
        panel: rows and columns of a tile.
        reading: bytes of the rows, from `reading_bytes`.
    """
    tile = 8 * min(panel, p) * min(panel, max(p, q))
    beside = max(reading, 2 * tile)  # rows; then one tile that is made while another is written
    return (memory_bytes - beside) // tile


def most_column_blocks(panel: int, tiles: int, memory_bytes: int) -> int:
    """Return how many column blocks of W, of so many tiles each, fit into memory beside a few tiles."""
    return max(1, (memory_bytes // (8 * panel**2) - _TILES_BESIDE) // tiles)


def holds_square(panel: int, tiles: int, column_blocks: int, memory_bytes: int) -> bool:
    """Whether a lower triangle of so many tiles a side fits beside some column blocks and a few tiles."""
    held = tiles * (tiles + 1) // 2 + tiles * column_blocks + _TILES_BESIDE
    return 8 * panel**2 * held <= memory_bytes


# --- evaluation and studies ----------------------------------------------------------------------------


def evaluation_bytes(choices: Iterable[Choice]) -> int:
    """Return what evaluating the in-memory fits of a run holds at most; 0 where there is none."""
    fits = (choice.worker_bytes for choice in choices if not choice.out_of_core)
    return int(_EVALUATION * max(fits, default=0))


def fit_host_bytes(_: FitSizes, choice: Choice) -> int:
    """Return what fitting the maps of one basis holds in a host's memory, without libraries."""
    return choice.worker_bytes


def evaluation_host_bytes(sizes: FitSizes, choice: Choice) -> int:
    """Return what evaluating the maps of one basis holds in a host's memory, without libraries."""
    s = sizes
    if choice.method == "factored":  # rows; the whole head in both precisions, and twice among products
        return choice.worker_bytes + 8 * 2 * s.t * 2 * s.d + (4 + 8 + 2 * 8) * s.vocabulary * s.d
    return choice.worker_bytes + 8 * 2 * s.t * (s.p + s.q)


def held_out_rows(columns: int | None, memory_bytes: int) -> int:
    """Return the rows of a block of held-out rows; columns: None for hidden states, which are narrow."""
    if columns is None:
        return _MOST_ROWS
    return max(_FEWEST_ROWS, min(_MOST_ROWS, memory_bytes // (64 * columns)))


def holds_coordinates(rows: int, rank: int, memory_bytes: int) -> bool:
    """Whether rows of an out-of-core fit fit into memory in its r coordinates, twice in float64."""
    return 16 * rows * rank <= memory_bytes


def holds_answers(n_bytes: int, memory_bytes: int) -> bool:
    """Whether a study may cache the answers to all its prompts."""
    return n_bytes <= memory_bytes // 2


def holds_products(width: int, relations: int, memory_bytes: int) -> bool:
    """Whether a study may hold the products (k, k) of some relations' fitted and held-out sources."""
    return 8 * (_PRODUCTS + 3 * relations) * width**2 <= memory_bytes


def most_states(memory_bytes: int) -> int:
    """Return the side of the largest products of hidden states whose singular values a study finds."""
    return min(_MOST_STATES, int((memory_bytes / (8 * _PRODUCTS)) ** 0.5))


# --- extraction ----------------------------------------------------------------------------------------


def trial_bytes() -> int:
    """Return the memory for trying out batch sizes: this worker's share, by threads, of its machine's."""
    return available_bytes() // max(1, cores() // threads_in_use())
