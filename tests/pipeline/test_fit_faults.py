"""Fits on real Dask workers, which are killed in the middle: the same bits as if nothing had happened."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from lincorr.columns import Columns
from lincorr.relations import Relation, Side, Template
from lincorr.solvers.choose import choose
from lincorr.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline import fit
from pipeline.clusters import DaskExecutor, open_executor
from pipeline.config import ClusterSettings
from pipeline.executor import Executor, Result, Serial, Stage, Task, ignore
from pipeline.fit import FIT_NAMES, FitInputs, fit_relation
from pipeline.prepare import RelationInputs

N, WIDTH, Q = 200, 12, 40
P = {"gram": 60, "lowrank": 100, "tiled": 100}
STAGE = {"gram": "moments", "lowrank": "sketch", "tiled": "gram"}  # that a worker dies in


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_PANEL", 40)
    monkeypatch.setattr(fit, "_FEWEST_ROWS", 8)
    monkeypatch.setattr(fit, "largest_tile", lambda p, memory: 32)


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskExecutor]:
    with open_executor(
        ClusterSettings(kind="local", workers=2), model_bytes=1, tell=lambda _: None
    ) as executor:
        assert isinstance(executor, DaskExecutor)
        yield executor


def worker_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


class Killing:
    """Kills a worker with SIGKILL as soon as it is at work on the second task of a stage."""

    def __init__(self, executor: Executor, stage: str) -> None:
        self.executor, self.stage = executor, stage
        self.killed: list[int] = []

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        if stage.name != self.stage or self.killed:
            return self.executor.run(stage, on_result)

        def slowly(task: Task) -> Result:
            time.sleep(0.3)  # so that there is work to be killed in
            return stage.function(task)

        def kill(result: Result) -> None:
            on_result(result)
            if not self.killed:
                victim = worker_processes()[0]
                self.killed.append(victim.pid)
                victim.kill()

        return self.executor.run(Stage(stage.name, slowly, stage.tasks), kill)


def columns(count: int) -> Columns:
    texts = tuple(f" {i}" for i in range(count))
    return Columns(np.arange(count), texts, texts, (True,) * count, {})


def fit_inputs(method: str) -> FitInputs:
    sides = (Side(Template(name, f"{{}} {name}"), ()) for name in ("source", "target"))
    relation = RelationInputs(Relation("toy", "test", *sides, ()), columns(P[method]), columns(Q), {})
    chosen: Any = method
    choice = choose(N, P[method], Q, width=WIDTH, hidden=False, memory_bytes=10**9, method=chosen)
    return FitInputs(relation, np.arange(N), np.arange(2), {"domain": choice}, P[method], None)


def bits(store: LogitStore) -> list[bytes]:
    maps = [store.maps.load("toy", name) for name in FIT_NAMES if store.maps.inputs("toy", name)]
    return [m.block(m.source_ids.tolist(), m.target_ids.tolist()).tobytes() for m in maps]


@pytest.mark.parametrize("method", list(P))
def test_a_fit_outlives_a_killed_worker(method: str, workers: DaskExecutor, tmp_path: Path) -> None:
    made = hidden_problem(N, WIDTH, P[method], Q)
    quiet, disturbed = (
        planted_store(str(tmp_path / f"{name}.zarr"), made, shard_rows=20) for name in ("quiet", "disturbed")
    )
    fit_relation(quiet, fit_inputs(method), Serial)
    executor = Killing(workers, STAGE[method])
    names = fit_relation(disturbed, fit_inputs(method), lambda: executor)
    assert len(executor.killed) == 1
    assert names
    assert bits(disturbed) == bits(quiet) != []
