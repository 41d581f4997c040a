"""Tasks over tiles of a scratch: what opens, runs and records them."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from lincorr.arrays import limit_memory
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels
from pipeline.fit.rows import FitRows
from pipeline.plan.memory import must_cut_anew
from pipeline.runtime.device import array_device
from pipeline.runtime.executor import Executor, Receipt, Stage, this_worker

_TILING = ("block", "panel", "sketch")


_LAYOUT = 2  # raised when a scratch that was begun before must not be gone on with


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
    too_large = must_cut_anew(kept.get("memory_bytes", 0), facts["memory_bytes"])
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
