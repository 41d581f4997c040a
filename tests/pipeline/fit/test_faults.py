"""Fits that are disturbed in the middle: the same bits as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lincorr.errors import LincorrError
from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.config import ClusterSettings
from pipeline.fit.inputs import FIT_NAMES, FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.plan import memory as rules
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Executor, Result, Serial, Stage, Task, ignore
from tests.pipeline.fit.relations import chosen, planted_relation
from tests.processes import worker_processes

N, WIDTH, Q = 200, 12, 40
P = {"gram": 60, "lowrank": 100, "tiled": 100, "dual": 260}
STAGE = {"gram": "moments", "lowrank": "sketch", "tiled": "factor", "dual": "products"}  # that is disturbed
SMALL = {"_PANEL": 40, "_FEWEST_ROWS": 8, "largest_tile": lambda p, memory: 32}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(rules, name, value)


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskExecutor]:
    with open_executor(
        ClusterSettings(kind="local", workers=2), model_bytes=1, tell=lambda _: None
    ) as executor:
        assert isinstance(executor, DaskExecutor)
        yield executor


class Disturbing:
    """Does something, once, as soon as the first task of a stage is done."""

    def __init__(
        self, executor: Executor, stage: str, disturb: Callable[[], object], *, seconds: float = 0.0
    ) -> None:
        """Wrap an executor.

        Args:
            seconds: that every task of the stage takes longer, so that there is work to be disturbed in.
        """
        self.executor, self.stage, self.disturb, self.seconds = executor, stage, disturb, seconds
        self.workers = executor.workers
        self.done = 0

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        if stage.name != self.stage or self.done:
            return self.executor.run(stage, on_result)
        seconds = self.seconds

        def slowly(task: Task) -> Result:
            time.sleep(seconds)
            return stage.function(task)

        def disturb(result: Result) -> None:
            on_result(result)
            self.done += 1
            if self.done == 1:
                self.disturb()

        return self.executor.run(replace(stage, function=slowly) if seconds else stage, disturb)


def fit_inputs(method: str) -> FitInputs:
    relation, choice = planted_relation(P[method], Q), chosen(method, N, P[method], Q, WIDTH)
    return FitInputs(relation, np.arange(N), np.arange(2), {"domain": choice}, P[method], None)


def bits(store: LogitStore) -> list[bytes]:
    maps = [store.maps.load("toy", name) for name in FIT_NAMES if store.maps.inputs("toy", name)]
    return [m.block(m.source_ids.tolist(), m.target_ids.tolist()).tobytes() for m in maps]


def planted(url: Path | str, method: str) -> LogitStore:
    made = hidden_problem(N, WIDTH, P[method], Q)
    store: LogitStore = planted_store(str(url), made, shard_rows=20)
    return store


@pytest.fixture
def right(tmp_path: Path) -> Callable[[str], tuple[list[bytes], int]]:
    """What a fit comes to that nothing disturbs, and how many tasks its stage has."""

    def right(method: str) -> tuple[list[bytes], int]:
        quiet = planted(tmp_path / "quiet.zarr", method)
        counting = Disturbing(Serial(), STAGE[method], lambda: None)
        fit_relation(quiet, fit_inputs(method), lambda: counting)
        found = bits(quiet)
        assert found
        return found, counting.done

    return right


@pytest.mark.parametrize("method", list(P))
def test_a_fit_outlives_a_killed_worker(method, workers, right, tmp_path):
    disturbed = planted(tmp_path / "disturbed.zarr", method)
    executor = Disturbing(workers, STAGE[method], lambda: worker_processes()[0].kill(), seconds=0.1)
    assert fit_relation(disturbed, fit_inputs(method), lambda: executor)
    assert executor.done > 1
    assert bits(disturbed) == right(method)[0]


def test_a_fit_whose_scheduler_is_killed_is_one_clear_line_and_goes_on_later(scheduler, right, tmp_path):
    process, address = scheduler
    store = planted(tmp_path / "lost.zarr", "tiled")
    settings = ClusterSettings(kind="address", address=address)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        lost = Disturbing(executor, STAGE["tiled"], process.kill, seconds=0.1)
        with pytest.raises(LincorrError, match=r"^factor: the Dask scheduler is gone; .* rerun to resume$"):
            fit_relation(store, fit_inputs("tiled"), lambda: lost)
    assert_resumed(store, "tiled", right)


def test_a_fit_on_a_full_disk_is_one_clear_line_and_goes_on_when_there_is_room(disk, right):
    disk.remount("size=32m")
    store = planted(disk.path / "run.zarr", "tiled")
    full = Disturbing(Serial(), STAGE["tiled"], disk.fill)
    with pytest.raises(LincorrError, match=r"\(No space left on device\); free space there"):
        fit_relation(store, fit_inputs("tiled"), lambda: full)
    disk.empty()
    assert_resumed(store, "tiled", right)


@pytest.mark.parametrize("method", ["gram", "tiled"])
def test_a_killed_fit_goes_on_where_it_stopped(method, right, tmp_path):
    url = tmp_path / "killed.zarr"
    store = planted(url, method)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.fit.test_faults", str(url), method],
        cwd=Path(__file__).parents[3],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_resumed(store, method, right)


def assert_resumed(store: LogitStore, method: str, right: Callable[[str], tuple[list[bytes], int]]) -> None:
    """Fit again, here: the tiles that are there are not made again, and the bits are right."""
    assert bits(store) == []
    seen = Disturbing(Serial(), STAGE[method], lambda: None)
    fit_relation(LogitStore.open(store.url, write=True), fit_inputs(method), lambda: seen)
    wanted, tasks = right(method)
    assert 0 < seen.done < tasks
    assert bits(store) == wanted


if __name__ == "__main__":  # a fit that is killed as soon as it has made a tile
    for name, value in SMALL.items():
        setattr(rules, name, value)
    url, method = sys.argv[1:]
    deadly = Disturbing(Serial(), STAGE[method], lambda: os.kill(os.getpid(), signal.SIGKILL))
    fit_relation(LogitStore.open(url, write=True), fit_inputs(method), lambda: deadly)
