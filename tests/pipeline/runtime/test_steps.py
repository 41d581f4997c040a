"""How far tasks are, while they run: heard from here and from Dask workers; what is lost is not counted."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import ClusterSettings
from pipeline.runtime import dask_executor as clusters
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Executor, Serial, Stage
from pipeline.runtime.tally import Tally

PATIENCE = 60  # seconds until something that must happen has failed to


@pytest.fixture(scope="module")
def two_workers() -> Iterator[DaskExecutor]:
    settings = ClusterSettings(kind="local", workers=2)
    with open_executor(settings, model_bytes=1_000_000, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        yield executor


@pytest.fixture
def quick(two_workers: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> DaskExecutor:
    """Looks at its workers often."""
    monkeypatch.setattr(clusters, "_COUNT_WORKERS", 0.1)
    return two_workers


def tasks(*keys: str) -> list[Any]:
    return [SimpleNamespace(key=key) for key in keys]


def counting(folder: Path) -> Any:
    """Return a task of 30 steps that stops after 10 and 17, until a file says that they were heard of.

    Its first try is killed, or fails, after 10; the second one stops after 7.
    """

    def work(task: Any, count: Callable[[int], None]) -> int:
        def heard(steps: int) -> None:
            limit = time.monotonic() + PATIENCE
            while not (folder / f"{task.key} {steps}").exists():
                assert time.monotonic() < limit
                time.sleep(0.01)

        begun = folder / f"{task.key} begun {time.time_ns()}"
        first = not list(folder.glob(f"{task.key} begun *"))
        begun.touch()
        lost = first and task.key in ("killed", "failed")
        if lost or task.key == "whole":
            count(4)
            count(6)
            heard(10)
        if lost:
            if task.key == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("a disk")
        if task.key != "whole":
            count(7)
            heard(7)
        count(30 - (10 if task.key == "whole" else 7))
        return 30

    return work


class Hearing:
    """Notes what is said of each task, has a tally count it, and lets the tasks go on."""

    def __init__(self, folder: Path, total: int) -> None:
        self.folder = folder
        self.tally = Tally(total)
        self.of_task: dict[str, list[int]] = {}
        self.finished = 0

    def under_way(self, steps: Mapping[str, int]) -> None:
        """Hear of steps."""
        self.tally.under_way(steps)
        assert self.tally.done == 30 * self.finished + sum(steps.values())
        for key, done in steps.items():
            heard = self.of_task.setdefault(key, [])
            if heard[-1:] != [done]:
                heard.append(done)
            (self.folder / f"{key} {done}").touch()

    def run(self, executor: Executor, *keys: str) -> None:
        """Run these tasks to their ends."""

        def end(steps: int) -> None:
            self.finished += 1
            self.tally(steps, "whole" if "whole" in keys else keys[0])

        stage = Stage(
            "steps", counting(self.folder), tasks(*keys), overlapping=True, under_way=self.under_way
        )
        assert executor.run(stage, end) == [30] * len(keys)


def test_steps_of_a_task_are_heard_of_before_it_ends(quick: DaskExecutor, tmp_path: Path) -> None:
    hearing = Hearing(tmp_path, 30)
    hearing.run(quick, "whole")
    assert 10 in hearing.of_task["whole"]  # for which it waited
    assert hearing.tally.done == 30


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_what_a_lost_try_had_done_is_not_counted(how: str, quick: DaskExecutor, tmp_path: Path) -> None:
    hearing = Hearing(tmp_path, 30)
    hearing.run(quick, how)
    assert len(list(tmp_path.glob(f"{how} begun *"))) == 2
    told = [done for done in hearing.of_task[how] if done in (10, 7, 17)]
    assert told == [10, 7]  # never both
    assert hearing.tally.done == 30


def test_steps_are_heard_of_at_once_where_this_process_works(tmp_path: Path) -> None:
    """Its tasks wait for nothing that is not said yet."""
    hearing = Hearing(tmp_path, 30)
    hearing.run(Serial(), "whole")
    assert hearing.of_task == {"whole": [4, 10, 30]}
    assert hearing.tally.done == 30


def steps_kept(executor: DaskExecutor) -> set[int]:
    """Of how many tasks each worker tells the steps."""
    workers = executor._client.scheduler_info()["workers"].values()
    return {len(worker["metrics"].get("lincorr-steps", ())) for worker in workers}


def test_workers_tell_of_few_tasks_and_of_those_that_are_not_finished(quick: DaskExecutor) -> None:
    """What is sent, and kept by the scheduler, does not grow with the number of tasks."""
    told: list[set[str]] = []
    ended = set[str]()

    def work(task: Any, count: Callable[[int], None]) -> str:
        count(1)
        time.sleep(1.5 if task.key == "task-0" else 0.01)  # than heartbeats are apart
        return str(task.key)

    def hear(steps: Mapping[str, int]) -> None:
        assert not steps.keys() & ended
        told.append(set(steps))

    keys = [f"task-{i}" for i in range(100)]
    function: Any = work
    stage = Stage("many", function, tasks(*keys), overlapping=True, under_way=hear)
    assert quick.run(stage, ended.add) == keys
    assert any("task-0" in keys for keys in told)
    deadline = time.monotonic() + 30
    while (kept := steps_kept(quick)) != {8} and time.monotonic() < deadline:
        time.sleep(0.1)  # until heartbeats after the last task have come
    assert kept == {8}
    assert not [topic for topic in quick._client.get_events() if "steps" in topic]
