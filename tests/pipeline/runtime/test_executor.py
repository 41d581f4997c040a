"""The serial executor is the definition; the Dask one must give the same answers."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import pytest
from distributed import Client
from distributed.comm.core import CommClosedError
from hypothesis import given
from hypothesis import strategies as st

from lincorr.errors import BadInput, LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime import dask_executor as clusters
from pipeline.runtime.clusters import address
from pipeline.runtime.clusters.worker_settings import local_shape
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Executor, Serial, Stage, Waiting
from pipeline.runtime.machine import cores

# Functions of tasks are made inside functions: Dask then sends them by value, and a worker need not
# import this file.

MODEL_BYTES = 1_000_000


@pytest.fixture(scope="module")
def dask_executor() -> Iterator[Executor]:
    settings = ClusterSettings(kind="local", workers=2)
    with open_executor(settings, model_bytes=MODEL_BYTES, tell=lambda _: None) as executor:
        yield executor


@pytest.fixture(params=["serial", "dask"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Serial() if request.param == "serial" else request.getfixturevalue("dask_executor")


def square_slowly_at_first() -> Any:
    def square(task: int) -> int:
        time.sleep(0.2 if task == 0 else 0)
        return task * task

    return square


def test_results_come_in_the_order_of_the_tasks(executor):
    stage = Stage("square", square_slowly_at_first(), range(40))
    assert executor.run(stage) == [n * n for n in range(40)]


def test_every_result_is_told_once(executor):
    told: list[int] = []
    executor.run(Stage("told", square_slowly_at_first(), range(20)), told.append)
    assert sorted(told) == [n * n for n in range(20)]


def test_a_stage_without_tasks_is_done(executor):
    assert executor.run(Stage("empty", square_slowly_at_first(), [])) == []


def test_equal_tasks_are_each_run(executor):
    assert executor.run(Stage("equal", square_slowly_at_first(), [3, 3, 3])) == [9, 9, 9]


def test_a_stage_of_one_name_can_be_run_again(executor):
    assert executor.run(Stage("again", lambda task: task + 1, [1])) == [2]
    assert executor.run(Stage("again", lambda task: task + 2, [1])) == [3]


def test_a_task_begins_when_those_that_it_needs_are_done(executor, tmp_path):
    """A chain, beside tasks that need nothing; the last of the list is needed by the first."""
    needs = {"a": ["b", "z"], "b": ["c"], "c": ["done long ago"]}

    def write(task: Any) -> list[str]:
        time.sleep(0.02)
        seen = sorted(path.name for path in tmp_path.iterdir())
        (tmp_path / task.key).touch()
        return seen

    keys = ["a", "b", "x", "c", "y", "z"]
    seen = executor.run(Stage("needs", write, [SimpleNamespace(key=key) for key in keys], needs=needs))
    before = dict(zip(keys, seen, strict=True))
    assert {"b", "c", "z"} <= set(before["a"])
    assert "c" in before["b"]


@given(st.data())
def test_every_task_is_taken_once_after_those_that_it_needs(data):
    count = data.draw(st.integers(0, 12))
    order = data.draw(st.permutations(range(count)))  # of which each may need any before it
    needs = {
        str(task): [str(other) for other in data.draw(st.sets(st.sampled_from(order[:i]))) if i]
        for i, task in enumerate(order)
        if i
    }
    waiting = Waiting(Stage("any", str, [SimpleNamespace(key=str(i)) for i in range(count)], needs=needs))
    running: list[int] = []
    done: list[int] = []
    while len(done) < count:
        while (taken := waiting.take()) is not None:
            assert set(needs.get(taken[1].key, ())) <= {str(i) for i in done}
            running.append(taken[0])
        finished = running.pop(data.draw(st.integers(0, len(running) - 1)))
        done.append(finished)
        waiting.done(finished)
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("kind", [LincorrError, BadInput])
def test_the_error_of_a_task_reaches_the_caller(executor, kind):
    def refuse(task: int) -> int:
        if task == 5:
            raise kind("task 5: is refused; leave it out")
        return task

    with pytest.raises(kind, match=r"^task 5: is refused; leave it out$") as caught:
        executor.run(Stage("refuse", refuse, range(10)))
    assert type(caught.value) is kind


@pytest.mark.parametrize(("kind", "times"), [(LincorrError, 1), (OSError, 3)])
def test_an_error_of_ours_is_not_tried_again(dask_executor, kind, times, tmp_path):
    def fail(task: int) -> None:
        with (tmp_path / "tries").open("a") as tries:
            tries.write("x")
        raise kind("no")

    with pytest.raises(kind, match="no"):
        dask_executor.run(Stage("fail", fail, [0]))
    assert (tmp_path / "tries").read_text() == "x" * times


def test_a_worker_without_memory_is_one_line(dask_executor):
    def hold(_: int) -> None:
        raise MemoryError("4 TB")

    with pytest.raises(
        LincorrError,
        match=r"^out of memory \(4 TB\); set fit\.memory or .* fit\.device to cpu\. Finished work is stored",
    ):
        dask_executor.run(Stage("hold", hold, [0]))


@pytest.mark.parametrize("lost", [CancelledError(), CommClosedError("in gather")])
def test_a_lost_scheduler_is_one_line_whenever_it_goes(lost):
    """Between two messages, or in the middle of one."""

    scheduler: Any = mock.Mock(gather=mock.Mock(side_effect=lost))

    with pytest.raises(LincorrError, match=r"^a stage: the Dask scheduler is gone; .* rerun to resume$"):
        DaskExecutor(scheduler)._results([], "a stage", clusters._Watch())


def test_an_executor_works_after_an_error(executor):
    def divide(task: int) -> float:
        return 1 / task

    with pytest.raises(ZeroDivisionError):
        executor.run(Stage("divide", divide, [1, 0, 2]))
    assert executor.run(Stage("divide", divide, [1, 2])) == [1.0, 0.5]


def test_dask_tasks_run_in_two_other_processes(dask_executor):
    def process(_: int) -> int:
        time.sleep(0.05)
        return os.getpid()

    found = set(dask_executor.run(Stage("process", process, range(12))))
    assert len(found) == 2
    assert os.getpid() not in found


def test_a_worker_has_the_threads_that_are_asked_for():
    def threads(_: int) -> tuple[bool, int, str]:
        loaded = "torch" in sys.modules
        import torch

        return loaded, torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]

    settings = ClusterSettings(kind="local", workers=1, threads=1)
    with open_executor(settings, model_bytes=MODEL_BYTES, tell=lambda _: None) as executor:
        assert executor.run(Stage("threads", threads, [0])) == [(False, 1, "1")]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])  # Dask's nannies set both to 1
@pytest.mark.skipif(cores() < 2, reason="torch takes no more threads than there are cores")
def test_threads_are_those_that_are_asked_for_whatever_the_environment_says(name):
    program = "from lincorr.model.device import *; use_threads(2); print(threads_in_use())"
    environment = os.environ | {name: "1"}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "2"


def test_one_executor_leaves_no_variables_to_the_next(monkeypatch):
    def memory(_: int) -> str:
        return os.environ["MALLOC_TRIM_THRESHOLD_"]

    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = []
    for keep in (True, False):
        settings = ClusterSettings(kind="local", workers=1)
        with open_executor(
            settings, model_bytes=MODEL_BYTES, tell=lambda _: None, keep_memory=keep
        ) as executor:
            found += executor.run(Stage("memory", memory, [0]))
    assert found[0] == str(2**30) != found[1]
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_window_of_tasks_is_with_the_scheduler_at_once(dask_executor):
    tasks, unfinished, known = dask_executor._client.cluster.scheduler.tasks, [], []

    def look(_: object) -> None:
        mine = [task.state for key, task in list(tasks.items()) if key[0].startswith("window-")]
        unfinished.append(sum(state != "memory" for state in mine))
        known.append(len(mine))

    window = clusters._WINDOW * 2
    dask_executor.run(Stage("window", lambda task: task, range(100)), look)
    assert len(known) == 100
    assert max(unfinished) <= window
    assert max(known) <= 2 * window  # results that were told are let go


def test_two_clients_of_one_scheduler_do_not_share_tasks(dask_executor):
    address = dask_executor._client.scheduler_info()["address"]
    found = []

    def run_another(_: int) -> None:
        with Client(address) as other:
            found.extend(DaskExecutor(other).run(Stage("same", lambda _: "theirs", [0])))

    found.extend(dask_executor.run(Stage("same", lambda _: "mine", [0]), run_another))
    assert sorted(found) == ["mine", "theirs"]


def test_serial_asks_for_no_processes():
    with open_executor(ClusterSettings(kind="serial"), model_bytes=0, tell=lambda _: None) as executor:
        assert isinstance(executor, Serial)


def test_nothing_listens_beyond_this_machine(dask_executor):
    info = dask_executor._client.scheduler_info()
    listening = [info["address"], *info["workers"], *(w["nanny"] for w in info["workers"].values())]
    assert [place.startswith("tcp://127.0.0.1:") for place in listening] == [True] * 5
    family = psutil.Process().children(recursive=True)
    places = {
        c.laddr.ip for p in [psutil.Process(), *family] for c in p.net_connections() if c.status == "LISTEN"
    }
    assert places == {"127.0.0.1"}


def test_the_dashboard_is_told(dask_executor):
    assert dask_executor.dashboard.startswith("http://127.0.0.1:")


def test_an_address_where_nothing_listens_is_refused(monkeypatch):
    monkeypatch.setattr(address, "_PATIENCE", "1s")
    settings = ClusterSettings(kind="address", address="tcp://127.0.0.1:9")
    with (
        pytest.raises(
            BadInput, match=r"cluster\.address: no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"
        ),
        open_executor(settings, model_bytes=0, tell=lambda _: None),
    ):
        pass


def test_a_scheduler_that_runs_is_used_by_address(dask_executor):
    address = dask_executor._client.scheduler_info()["address"]
    settings = ClusterSettings(kind="address", address=address)
    with open_executor(settings, model_bytes=0, tell=lambda _: None) as executor:
        assert executor.run(Stage("there", lambda task: task + 1, [1, 2])) == [2, 3]


def test_workers_that_die_are_told(tmp_path):
    def die_twice(folder: str) -> str:
        for name in ("first", "second"):
            if not os.path.exists(f"{folder}/{name}"):
                open(f"{folder}/{name}", "x").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if not os.path.exists(f"{folder}/third"):
            open(f"{folder}/third", "x").close()
            raise OSError("the network is away for a moment")
        return "done"

    said: list[str] = []
    settings = ClusterSettings(kind="local", workers=1)
    with open_executor(settings, model_bytes=0, tell=said.append) as executor:
        assert executor.run(Stage("die", die_twice, [str(tmp_path)])) == ["done"]
    deaths = [line for line in said if line[0].isdigit() and " died: " in line]
    assert [line.partition(":")[0] for line in deaths] == ["1 worker died", "2 workers died"]
    assert "memory" not in "".join(deaths)  # nothing says that it was
    assert said[-1] == "Tasks that were run again, since they failed or their worker died: 3"


def test_no_more_workers_are_made_than_copies_of_the_model_fit():
    assert local_shape(ClusterSettings(), 10**15)[0] == 1


def test_a_gpu_has_one_worker_unless_more_are_asked_for():
    assert local_shape(ClusterSettings(), 0, gpus=4) == (1, cores())
    assert local_shape(ClusterSettings(workers=2), 0, gpus=1)[0] == 2


@pytest.mark.parametrize(("gpus", "told"), [(1, False), (2, True)])
def test_gpus_that_stay_idle_are_told(gpus, told):
    said: list[str] = []
    settings = ClusterSettings(kind="local", workers=1)
    with open_executor(settings, model_bytes=0, tell=said.append, gpus=gpus):
        assert any("cluster.kind gpus" in line for line in said) == told


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert local_shape(ClusterSettings(workers=2), 0) == (2, 3)
    assert local_shape(ClusterSettings(workers=4, threads=5), 0) == (4, 5)
    assert local_shape(ClusterSettings(workers=12), 0) == (12, 1)


def test_the_dashboard_tells_stages_apart_by_their_names(dask_executor):
    """By what the scheduler itself counts, which its pages show."""

    def finished(dask_scheduler: Any) -> dict[str, int]:
        return {name: prefix.state_counts["memory"] for name, prefix in dask_scheduler.task_prefixes.items()}

    tasks = [SimpleNamespace(key=f"shard-{i}") for i in range(30)]
    for name, count in [("read", 30), ("edit city-country", 20), ("read", 10)]:
        dask_executor.run(Stage(name, lambda task: task.key, tasks[:count]))
    found = dask_executor._client.run_on_scheduler(finished)
    assert found["read"] == 40
    assert found["edit city-country"] == 20
    assert not any("shard" in name for name in found)


def test_a_scheduler_looks_for_garbage_as_often_as_before_when_the_run_is_over():
    before = gc.get_threshold()
    settings = ClusterSettings(kind="local", workers=1)  # the scheduler is in this process
    gc.set_threshold(500)
    try:
        with open_executor(settings, model_bytes=MODEL_BYTES, tell=lambda _: None):
            assert gc.get_threshold()[0] > 5000
        assert gc.get_threshold()[0] == 500
    finally:
        gc.set_threshold(*before)
