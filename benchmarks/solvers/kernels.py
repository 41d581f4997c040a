"""Where the time of the tiled solver goes: each kernel, read and write of one fit, one after the other.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.solvers kernels

Processor time is the figure to read: on a machine with other work the clock shows that work, too.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.solvers.machine import print_table
from benchmarks.solvers.tiled import SHARD_ROWS, WIDTH, in_turn, planted_inputs
from lincorr.testing import hidden_problem, planted_store
from pipeline.config import FitSettings
from pipeline.fit.relation import fit_relation
from pipeline.plan.memory import fit_memory
from pipeline.runtime.executor import Result, Serial, Stage, Task, ignore

_ROWS, _TILES, _SUMS = "store.store.LogitStore.logits", "store.scratch.Scratch", "solvers.products"

# what is timed -> as what
_PIECES = {
    f"lincorr.{_SUMS}.add_product": "gemm",
    f"lincorr.{_SUMS}.add_square": "syrk",
    "lincorr.solvers.tiled.add_product": "gemm",
    "lincorr.solvers.tiled.add_square": "syrk",
    "lincorr.solvers.tiled.cholesky": "potrf",
    "lincorr.solvers.tiled.solve_triangular": "trsm",
    "pipeline.fit.tiled._gram_times": "gemm, narrow",
    "pipeline.fit.sweeps.mirrored": "mirror",
    "pipeline.fit.panels.Panels.centred": "centre",
    f"lincorr.{_TILES}.write": "write a tile",
    f"lincorr.{_TILES}.read_host": "read a tile",
    f"lincorr.{_ROWS}": "read rows",
    "lincorr.store.maps.MapStore.write_tile": "write a tile of W",
}


class Watch(Serial):
    """Runs stages here, as two workers would have them dealt out, and times pieces of the work.

    Attributes:
        found: stage and piece -> seconds on the clock, seconds of this process's processor time, operations.
    """

    workers = 2

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[float]] = {}
        self._stage = "rest"

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Run one stage."""
        self._stage = stage.name
        with self.timing("(in all)"):
            results = super().run(stage, on_result)
        self._stage = "rest"
        return results

    @contextmanager
    def timing(self, piece: str, flops: float = 0.0) -> Iterator[None]:
        """Add the time of a block of code to a piece of the present stage."""
        wall, thread, began = time.perf_counter(), time.thread_time(), time.process_time()
        try:
            yield
        finally:
            own = piece in ("(in all)", "write a tile", "write a tile of W")  # with zarr's own threads
            used = time.process_time() - began if own else time.thread_time() - thread
            entry = self.found.setdefault((self._stage, piece), [0.0, 0.0, 0.0])
            for k, more in enumerate((time.perf_counter() - wall, used, flops)):
                entry[k] += more

    def watched(self, function: Callable[..., Any], piece: str) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timing(piece, _flops(piece, args)):
                return function(*args, **kwargs)

        return timed


def _flops(piece: str, args: tuple[Any, ...]) -> float:
    if piece in ("gemm", "syrk"):
        (m, n), k = args[0].shape, args[1].shape[1]
        return float(m * n * k * (2 if piece == "gemm" else 1))
    if piece == "trsm":
        return float(args[1].shape[0] ** 2 * args[1].shape[1])
    return float(args[0].shape[0] ** 3 / 3) if piece == "potrf" else 0.0


def measure(folder: Path, n: int, columns: int, memory_gb: float) -> dict[str, Any]:
    """Fit a planted problem in this process, and print what its pieces take."""
    store = planted_store(
        str(folder / "kernels.zarr"), hidden_problem(n, WIDTH, columns, columns), shard_rows=SHARD_ROWS
    )
    inputs = planted_inputs(n, columns, fit_memory(FitSettings(memory=memory_gb)))
    watch = Watch()
    peaks = [_rate()]
    with in_turn(), ExitStack() as stack:
        for name, piece in _PIECES.items():
            owner, _, function = name.rpartition(".")
            module, _, kind = owner.rpartition(".")
            target = getattr(importlib.import_module(module), kind, None) or importlib.import_module(owner)
            stack.enter_context(patch(name, watch.watched(getattr(target, function), piece)))
        fit_relation(store, inputs, lambda: watch)
    peaks.append(_rate())
    rows: list[dict[str, Any]] = [
        {"stage": stage, "piece": piece, "wall": wall, "used": used, "gflops": flops / used / 1e9 or None}
        for (stage, piece), (wall, used, flops) in sorted(watch.found.items())
    ]
    print(f"{n:,} x {columns:,} -> {columns:,}, {memory_gb:g} GB; products {max(peaks) / 1e9:.1f} GFLOP/s\n")
    print_table(
        rows,
        {
            "stage": ("stage", ""),
            "piece": ("piece", ""),
            "used": ("processor, s", ".2f"),
            "wall": ("clock, s", ".2f"),
            "gflops": ("GFLOP/s", ".1f"),
        },
    )
    return {"pieces": rows, "peak": max(peaks), "flops": inputs.choices["domain"].flops}


def _rate(n: int = 2048, repeats: int = 4) -> float:
    """Return the best rate of a float64 product, in operations a second of processor time."""
    a, b = np.random.default_rng(0).standard_normal((2, n, n))
    out, taken = a @ b, []
    for _ in range(repeats):
        began = time.process_time()
        np.matmul(a, b, out=out)
        taken.append(time.process_time() - began)
    return 2.0 * n**3 / min(taken)
