"""Tasks over tiles of a scratch: how they are listed, opened, timed and run."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import psutil

from lincorr.arrays import limit_memory
from lincorr.errors import LincorrError
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.panels import Panels
from pipeline.fit.rows import FitRows
from pipeline.runtime.device import array_device
from pipeline.runtime.executor import Executor, Receipt, Stage, this_worker
from pipeline.runtime.machine import most_bytes


@dataclass(frozen=True, slots=True)
class TileTask:
    """One task of a stage, which most often writes one tile.

    Attributes:
        store, scratch: URLs.
        begun: tells the scratch from earlier ones at the same URL.
        i, j: position of the tile.
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

    @property
    def at(self) -> "TileTask":
        """The task itself: see `HasTile`."""
        return self


class HasTile(Protocol):
    """A task that knows its store, its scratch, and a tile that stands for it."""

    @property
    def at(self) -> TileTask: ...


T = TypeVar("T", bound=HasTile)


@dataclass(frozen=True, slots=True)
class Done:
    """The work of a task: bytes written, and rows read from the store."""

    written: int = 0
    rows: int = 0


def tile_task(function: Callable[[T, Scratch, Panels], Done]) -> Callable[[T], Receipt]:
    """Turn a function of a task, its scratch and its panels into one of the task, timed, with a receipt.

    It must be a module's function: workers find it by its name.
    """

    @functools.wraps(function)
    def run(task: T) -> Receipt:
        began = time.perf_counter()
        scratch, panels = opened(task.at)
        done = function(task, scratch, panels)
        seconds, ended = time.perf_counter() - began, time.time()
        return Receipt(
            key=task.at.key,
            worker=this_worker(),
            rows=done.rows,
            bytes_written=done.written,
            began=ended - seconds,
            ended=ended,
            compute_seconds=seconds,
            peak_bytes=psutil.Process().memory_info().rss,
        )

    return run


def opened(task: TileTask) -> tuple[Scratch, Panels]:
    """Return a task's scratch and its panels; a worker keeps the last ones open, with their cached tiles.

    Tiles live on the device that the fit asks for.

    Raises:
        LincorrError: the fit asks for a GPU, and this worker sees none; or another fit has begun.
    """
    facts = Scratch.facts_of(task.scratch, task.begun)  # another run may resume with other settings
    return _opened(task.scratch, task.begun, facts["device"], facts["memory_bytes"])


def opened_rows(task: TileTask) -> FitRows:
    """Return the rows of a task's fit; a worker keeps the last store open."""
    return _opened_rows(task.store, task.scratch, task.begun)


@functools.lru_cache(maxsize=1)
def _opened_rows(store: str, url: str, begun: str) -> FitRows:
    return FitRows(LogitStore.open(store), Scratch.attach(url))


def forget_rows() -> None:
    """Release the store that is kept open, and its output head with it."""
    _opened_rows.cache_clear()


@functools.lru_cache(maxsize=1)  # `begun`: a long-lived worker must not mistake an old one for a new one
def _opened(url: str, begun: str, device: str, memory_bytes: int) -> tuple[Scratch, Panels]:
    _require_memory(memory_bytes)
    kind = array_device(device)
    limit_memory(kind, memory_bytes)
    scratch = Scratch.attach(url, kind)
    panels = Panels(scratch)
    scratch.require(begun)  # when both are open: what is kept is of this fit
    return scratch, panels


def _require_memory(memory_bytes: int) -> None:
    """Refuse a fit whose tasks are planned larger than this worker may be: it would be killed for them.

    Raises:
        LincorrError: names both sizes.
    """
    most = most_bytes()
    if most is not None and memory_bytes > most:
        raise LincorrError(
            f"fit.memory: tasks may hold {memory_bytes / 1e9:.1f} GB, and {this_worker()} is ended beyond "
            f"{most / 1e9:.1f} GB (its container, job or Dask's limit); set it lower, or give workers more"
        )


def run_tiles(
    executor: Executor,
    name: str,
    function: Any,
    store: LogitStore,
    scratch: Scratch,
    output: str,
    positions: list[tuple[int, int]],
    *,
    on_device: bool = True,
) -> list[Receipt]:
    """Run a stage of tile tasks, those whose tiles of `output` are missing."""
    todo = tiles_to_do(store, scratch, output, positions)
    return executor.run(Stage(name, function, todo, on_device=on_device and wants_gpus(scratch)))


def wants_gpus(scratch: Scratch) -> bool:
    """Whether tasks of a fit go to workers with a GPU, where there are any: not if `fit.device` is cpu."""
    return bool(scratch.facts()["device"] != "cpu")


def tiles_to_do(
    store: LogitStore, scratch: Scratch, output: str, positions: list[tuple[int, int]]
) -> list[TileTask]:
    """Return tasks for the missing tiles of `output`."""
    return [
        TileTask(store.url, scratch.url, scratch.begun, i, j)
        for i, j in positions
        if not scratch.has(output, i, j)
    ]
