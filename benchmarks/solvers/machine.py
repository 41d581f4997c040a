"""The machine, its float64 rate, what a stretch of work holds in memory; tables."""

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import psutil

_EVERY = 0.02  # seconds


def describe() -> str:
    """Name cores, memory and libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 1e9
    return f"{cores} cores, {memory:.0f} GB, {platform.machine()}, numpy {np.__version__}"


def dgemm_peak(n: int = 3072, repeats: int = 8) -> float:
    """Return the best rate of a float64 matrix product seen on all cores, in operations a second."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((n, n)), rng.standard_normal((n, n))
    out = a @ b
    best = min(seconds(lambda: np.matmul(a, b, out=out)) for _ in range(repeats))
    return 2 * n**3 / best


def seconds(work: Callable[[], object]) -> float:
    """Time a piece of work once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best_seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the best time of every way; they take turns, so that a busy moment meets all alike.

    A turn is three calls: NumPy and SciPy bring a BLAS of their own each, and for a while the threads of the
    one that ran last spin on the cores that the next one wants.
    """
    taken = [
        {name: min(seconds(work) for _ in range(3)) for name, work in ways.items()} for _ in range(rounds)
    ]
    return {name: min(one[name] for one in taken) for name in ways}


class PeakMemory:
    """Watches the resident memory of this process and of those that it starts.

    Attributes:
        own: the most that this process held, in bytes.
        worker: the most that one of the others held.
    """

    def __init__(self) -> None:
        self.own = self.worker = 0
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()

    def _watch(self) -> None:
        me = psutil.Process()
        children: list[psutil.Process] = []
        looked = 0.0
        while not self._stop.wait(_EVERY):
            self.own = max(self.own, me.memory_info().rss)
            if time.monotonic() - looked > 1:  # walking through all processes costs milliseconds
                children, looked = me.children(recursive=True), time.monotonic()
            for child in children:
                try:
                    self.worker = max(self.worker, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


def print_table(rows: Sequence[dict[str, Any]], columns: dict[str, tuple[str, str]]) -> None:
    """Print rows as a markdown table; what a row lacks stays empty.

    Args:
        columns: key -> heading and format.
    """
    print("| " + " | ".join(heading for heading, _ in columns.values()) + " |")
    print("| " + " | ".join("---:" if spec else "---" for _, spec in columns.values()) + " |")
    for row in rows:
        cells = ("" if row.get(key) is None else format(row[key], spec) for key, (_, spec) in columns.items())
        print("| " + " | ".join(cells) + " |")
    print(flush=True)
