"""Who makes which tile of a tiled fit: workers of one host, as `cluster.kind gpus` has one on each GPU."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import scipy.linalg

from lincorr.arrays import has_gpu
from lincorr.solvers import tiled
from lincorr.store.maps import MapStore
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.config import ClusterSettings
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.plan import memory as rules
from pipeline.runtime.dask_executor import open_executor
from pipeline.runtime.executor import Executor, Result, Serial, Stage, Task, ignore
from tests.pipeline.fit.planted import ROOT, centred, error, weights_of
from tests.pipeline.fit.relations import chosen, planted_relation

N, SIDE, TILE, WORKERS = 120, 96, 12, 3
TILES = SIDE // TILE


class Logged:
    """Runs stages elsewhere; every worker writes down what it does with which tile."""

    def __init__(self, executor: Executor, log: Path) -> None:
        self.executor, self.log, self.workers = executor, log, executor.workers

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        log, function = str(self.log), stage.function

        def logged(task: Task) -> Result:
            def note(what: str, name: str, i: int, j: int) -> None:
                with open(log, "a") as file:
                    file.write(f"{os.getpid()} {what} {name} {i} {j}\n")

            def noting(
                what: str, call: Callable[..., Any], find: Callable[..., Any], after: bool = False
            ) -> Any:
                def noted(*args: Any, **kwargs: Any) -> Any:
                    if not after:
                        note(what, *find(*args))
                    found = call(*args, **kwargs)
                    if after:
                        note(what, *find(*args))
                    return found

                return noted

            write = noting("writes", Scratch.write, lambda _, name, i, j, __: (name, i, j), after=True)
            read = noting("reads", Scratch.read_host, lambda _, *place: place)
            update = noting("updates", tiled.downdate, lambda _, i, j, __: ("factor", i, j))
            weights = noting("writes", MapStore.write_tile, lambda _, __, ___, i, j, *____: ("W", i, j))
            with (
                patch.object(Scratch, "write", write),
                patch.object(Scratch, "read_host", read),
                patch.object(tiled, "downdate", update),
                patch.object(MapStore, "write_tile", weights),
            ):
                return function(task)

        return self.executor.run(replace(stage, function=logged), on_result)


def planted_inputs() -> FitInputs:
    relation, choice = planted_relation(SIDE, SIDE), chosen("tiled", N, SIDE, SIDE, 12)
    return FitInputs(relation, np.arange(N), np.arange(2), {"domain": choice}, SIDE, None, ROOT)


def planted(url: Path) -> LogitStore:
    store: LogitStore = planted_store(str(url), hidden_problem(N, 12, SIDE, SIDE), shard_rows=40)
    return store


def fit_logged(folder: Path, settings: ClusterSettings) -> LogitStore:
    """Fit on workers that write down what they do; return the store."""
    store = planted(folder / "run.zarr")
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        fit_relation(store, planted_inputs(), lambda: Logged(executor, folder / "log"))
    return store


def assert_owned(log: Path, workers: int) -> None:
    """Every tile is written once, by the worker that did its products; all workers own some of each kind."""
    fields = map(str.split, log.read_text().splitlines())
    lines = [(pid, what, (name, int(i), int(j))) for pid, what, name, i, j in fields]
    owners = {place: pid for pid, what, place in lines if what == "writes"}
    written = Counter(place for _, what, place in lines if what == "writes")
    lower = {(i, j) for i in range(TILES) for j in range(i + 1)}
    every = {(i, j) for i in range(TILES) for j in range(TILES)}
    for name, places in {"gram": lower, "cross": every, "factor": lower, "W": every}.items():
        assert {place[1:]: n for place, n in written.items() if place[0] == name} == dict.fromkeys(places, 1)
    updates = {place: pid for pid, what, place in lines if what == "updates"}
    assert updates == {place: pid for place, pid in owners.items() if place[0] == "factor"}
    for made in ({"gram", "cross"}, {"factor"}, {"W"}):
        shares = Counter(pid for (name, *_), pid in owners.items() if name in made)
        assert len(shares) == workers, (made, shares)

    done, handed = set(), 0
    for pid, what, place in lines:
        if what == "writes":
            done.add(place)
        elif what == "reads" and place[0] == "factor":
            assert place in done  # whole, by whomever
            handed += owners[place] != pid
    assert handed >= TILES - 1  # panels of one owner that others need


def test_every_tile_has_one_owner_who_does_all_of_its_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "largest_tile", lambda p, memory: TILE)
    store = fit_logged(tmp_path, ClusterSettings(kind="local", workers=WORKERS, threads=1))
    assert_owned(tmp_path / "log", WORKERS)
    alone = planted(tmp_path / "alone.zarr")
    fit_relation(alone, planted_inputs(), Serial)
    found, expected = (of.maps.load("toy", "domain-ridge") for of in (store, alone))
    assert weights_of(found).tobytes() == weights_of(expected).tobytes()
    assert found.intercept.tobytes() == expected.intercept.tobytes()
    assert_solved(store)


@pytest.mark.gpu
def test_several_gpus_own_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
    if not has_gpu():
        pytest.skip("CuPy finds no GPU")
    import cupy

    if (count := cupy.cuda.runtime.getDeviceCount()) < 2:
        pytest.skip("this machine has one GPU")
    monkeypatch.setattr(rules, "largest_tile", lambda p, memory: TILE)
    store = fit_logged(tmp_path, ClusterSettings(kind="gpus"))
    assert_owned(tmp_path / "log", count)
    assert_solved(store)


def assert_solved(store: LogitStore) -> None:
    """W is SciPy's, from float64 normal equations."""
    found = store.maps.load("toy", "domain-ridge")
    x, y = (store.logits(side, np.arange(SIDE), np.arange(N)).astype(float) for side in ("source", "target"))
    gram = centred(x).T @ centred(x) + found.diagnosis.penalty * np.eye(SIDE)
    assert (
        error(weights_of(found), scipy.linalg.solve(gram, centred(x).T @ centred(y), assume_a="pos")) < 1e-9
    )
