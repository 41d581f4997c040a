"""Logits that do not fit into a worker's memory: ridge by a Cholesky factor in tiles on disk."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from benchmarks.solvers.machine import PeakMemory, dgemm_peak, print_table
from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from lincorr.solvers.choose import choose
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.config import ClusterSettings, FitSettings
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.plan.memory import fit_memory
from pipeline.prepare.relations import RelationInputs
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Executor, Receipt, Result, Stage, Task, ignore

WIDTH, SHARD_ROWS, ROOT_PENALTY, SAMPLED = 576, 512, 0.003, 256

Doubles = NDArray[np.float64]


class Timed:
    """Runs stages elsewhere and adds up what each took.

    Args:
        slower: run tasks `in_turn`.

    Attributes:
        seconds: stage -> wall seconds; receipts: of all tasks.
    """

    def __init__(self, executor: Executor, *, slower: bool = False) -> None:
        self._executor = executor
        self._slower = slower
        self.workers = executor.workers
        self.seconds: dict[str, float] = {}
        self.receipts: list[Receipt] = []

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Run one stage."""
        if self._slower:
            stage = replace(stage, function=partial(_in_turn, stage.function))
        began = time.perf_counter()
        results = self._executor.run(stage, on_result)
        self.seconds[stage.name] = self.seconds.get(stage.name, 0.0) + time.perf_counter() - began
        self.receipts += [result for result in results if isinstance(result, Receipt)]
        return results


@contextmanager
def in_turn() -> Iterator[None]:
    """Let every read, copy and write of a tile wait for the products, and they for it."""
    with ExitStack() as stack:
        for module in ("lincorr.store.scratch", "pipeline.fit.sweeps", "pipeline.fit.tiled"):
            stack.enter_context(patch(f"{module}.prefetch", map))
        yield


def _in_turn(function: Callable[[Task], Result], task: Task) -> Result:
    with in_turn():
        return function(task)


def measure(
    folder: Path, sizes: list[int], columns: int, memory_gb: float, *, slower: bool = False
) -> dict[str, Any]:
    """Fit planted problems of some numbers of rows, and the same problems in memory.

    Args:
        slower: fit them once more, `in_turn`.
    """
    rows = []
    for n in sizes:
        rows.append(measure_one(folder, n, columns, memory_gb, slower=slower))
        rows[-1]["times_first"] = rows[-1]["seconds"] / rows[0]["seconds"]
        rows[-1]["flops_times_first"] = rows[-1]["flops"] / rows[0]["flops"]
    print(f"n x {columns:,} -> {columns:,}, {rows[0]['workers']} workers, {memory_gb:g} GB a worker\n")
    print_table(
        rows,
        {
            "n": ("n", ",d"),
            "seconds": ("s", ".1f"),
            **({"in_turn_seconds": ("in turn, s", ".1f")} if slower else {}),
            "gflops": ("GFLOP/s", ".0f"),
            "peak_gflops": ("peak", ".0f"),
            "share": ("of peak", ".0%"),
            "times_first": ("time", ".2f"),
            "flops_times_first": ("operations", ".2f"),
            "worker_gb": ("GB a worker", ".2f"),
            "error": ("error of W", ".1e"),
            "in_memory_seconds": ("in memory, s", ".1f"),
            "in_memory_gb": ("GB", ".1f"),
        },
    )
    stages = list(rows[0]["stages"])
    print_table(
        [{"n": row["n"]} | row["stages"] | {"rest": row["rest"]} for row in rows],
        {"n": ("n", ",d")} | {name: (f"{name}, s", ".1f") for name in (*stages, "rest")},
    )
    return {"fits": rows}


def measure_one(
    folder: Path, n: int, columns: int, memory_gb: float, *, slower: bool = False
) -> dict[str, Any]:
    problem = hidden_problem(n, WIDTH, columns, columns)
    store = planted_store(str(folder / f"{n}.zarr"), problem, shard_rows=SHARD_ROWS)
    inputs = planted_inputs(n, columns, fit_memory(FitSettings(memory=memory_gb)))
    before = _fit(store, inputs, slower=True) if slower else {}
    found = _fit(store, inputs)
    fitted = store.maps.load(inputs.relation.name, "domain-ridge")
    targets = np.sort(np.random.default_rng(1).choice(columns, min(SAMPLED, columns), replace=False))
    with PeakMemory() as alone:
        expected, in_memory = solve_in_memory(store, inputs, fitted.diagnosis.penalty)
    weights = fitted.block(np.arange(columns).tolist(), targets.tolist())
    shutil.rmtree(store.url)
    return found | {
        "n": n,
        "in_turn_seconds": before.get("seconds"),
        "in_turn_stages": before.get("stages"),
        "normal_residual": fitted.diagnosis.normal_residual,
        "error": float(np.linalg.norm(weights - expected[:, targets]) / np.linalg.norm(expected[:, targets])),
        "in_memory_seconds": in_memory,
        "in_memory_gb": alone.own / 1e9,
    }


def _fit(store: LogitStore, inputs: FitInputs, *, slower: bool = False) -> dict[str, Any]:
    """Fit anew and return what it took."""
    for part in ("maps", "scratch"):
        shutil.rmtree(Path(store.url) / part, ignore_errors=True)
    with (
        open_executor(_workers(), model_bytes=0, tell=lambda _: None, keep_memory=False) as executor,
        PeakMemory() as memory,
    ):
        timed = Timed(executor, slower=slower)
        peak = dgemm_peak()
        began = time.perf_counter()
        fit_relation(store, inputs, lambda: timed)
        seconds = time.perf_counter() - began
        peak = max(peak, dgemm_peak())  # other guests of a machine slow it down for minutes
    flops = inputs.choices["domain"].flops
    return {
        "workers": timed.workers,
        "seconds": seconds,
        "stages": timed.seconds,
        "rest": seconds - sum(timed.seconds.values()),
        "flops": flops,
        "gflops": flops / seconds / 1e9,
        "peak_gflops": peak / 1e9,
        "share": flops / seconds / peak,
        "worker_gb": max(memory.worker, *(receipt.peak_bytes for receipt in timed.receipts)) / 1e9,
    }


def _workers() -> ClusterSettings:
    """Two processes, which may share a GPU, or one on each GPU where there are several."""
    import torch

    if torch.cuda.device_count() > 1:
        return ClusterSettings(kind="gpus")
    return ClusterSettings(kind="local", workers=2, threads=1)


def planted_inputs(n: int, columns: int, memory_bytes: int) -> FitInputs:
    """What the pipeline's fit is made from, for the store of a planted problem."""
    texts = tuple(f" {i}" for i in range(columns))
    every = Columns(np.arange(columns), texts, texts, (True,) * columns, {})
    source, target = (Side(Template(name, f"{{}} {name}"), ()) for name in ("source", "target"))
    relation = RelationInputs(Relation("planted", "benchmark", source, target, ()), every, every, {})
    choice = choose(
        n,
        columns,
        columns,
        width=WIDTH,
        hidden=False,
        memory_bytes=memory_bytes,
        root_penalty=ROOT_PENALTY,
        method="tiled",
    )
    rows = np.arange(n)
    return FitInputs(relation, rows, rows[:0], {"domain": choice}, columns, None, ROOT_PENALTY, memory_bytes)


def solve_in_memory(store: LogitStore, inputs: FitInputs, penalty: float) -> tuple[Doubles, float]:
    """Return W by one Cholesky factor of the explicit Gram matrix, and the seconds without reading."""
    ids = inputs.relation.source.ids
    x, y = (store.logits(name, ids, inputs.fit_rows).astype(np.float64) for name in ("source", "target"))
    began = time.perf_counter()
    x -= x.mean(axis=0)
    y -= y.mean(axis=0)
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += penalty
    cross = x.T @ y
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    weights: Doubles = scipy.linalg.cho_solve(factor, cross, overwrite_b=True, check_finite=False)
    return weights, time.perf_counter() - began
