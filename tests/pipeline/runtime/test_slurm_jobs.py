"""Jobs of a real SLURM that drain, fail at once, wait for ever, or lose their node."""

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask
import psutil
import pytest

from lincorr.errors import LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime import dask_executor
from pipeline.runtime.clusters import slurm_jobs
from pipeline.runtime.clusters.slurm import _jobqueue
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.executor import Stage
from tests.pipeline.conftest import PATIENCE
from tests.slurm import queue, wait_until, with_


class Tasks:
    """A stage of tasks that sleep, run in a thread; each leaves a line when it has ended."""

    def __init__(self, settings: ClusterSettings, folder: Path, count: int, seconds: float) -> None:
        self.told: list[str] = []
        self.file = folder / "ended"
        self.file.touch()
        _jobqueue()  # can be imported in the main thread only
        self._thread = threading.Thread(target=self._run, args=(settings, count, seconds))
        self._thread.start()

    def _run(self, settings: ClusterSettings, count: int, seconds: float) -> None:
        path = str(self.file)

        def sleep(task: int) -> int:
            time.sleep(seconds)
            with open(path, "a") as file:
                file.write(f"{task} {os.environ['SLURM_JOB_ID']}\n")
            return task

        with open_executor(settings, model_bytes=1, tell=self.told.append) as executor:
            assert isinstance(executor, DaskExecutor)
            self.results = executor.run(Stage("sleep", sleep, range(count), overlapping=True))

    def ended(self) -> list[list[str]]:
        """Task and job of every task that ended."""
        return [line.split() for line in self.file.read_text().splitlines()]

    def finish(self, count: int) -> None:
        """Wait for all."""
        self._thread.join(3 * PATIENCE)
        assert not self._thread.is_alive(), self.told
        assert self.results == list(range(count))


@pytest.mark.slow
def test_a_job_drains_before_its_time_limit_and_the_next_goes_on(home):
    tasks = Tasks(with_(walltime="00:01:00"), home, 80, 2.0)
    tasks.finish(80)
    jobs = [job for _, job in tasks.ended()]
    assert len(jobs) == 80, "a task was cut off, and ran twice"
    assert len(set(jobs)) >= 2
    assert not any("TIMEOUT" in line for line in queue("--states=all"))


@pytest.mark.slow
def test_tasks_of_a_node_that_goes_down_run_on_another(home):
    tasks = Tasks(with_(workers=2, cpus=4), home, 80, 1.0)
    wait_until(lambda: len({job for _, job in tasks.ended()}) == 2, "two nodes do not work", PATIENCE)
    subprocess.run(["scontrol", "update", "nodename=n1", "state=down", "reason=test"], check=True)
    try:
        tasks.finish(80)
    finally:
        subprocess.run(["scontrol", "update", "nodename=n1", "state=resume"])  # it may be back already


@pytest.mark.slow
def test_an_adaptive_cluster_of_jobs_grows_with_the_work(home):
    tasks = Tasks(with_(workers=None, minimum=1, maximum=3), home, 60, 2.0)
    wait_until(lambda: len({job for _, job in tasks.ended()}) > 1, "it does not grow", 2 * PATIENCE)
    tasks.finish(60)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the queue and at the workers follow each other quickly."""
    monkeypatch.setattr(slurm_jobs, "_LOOK", 0.4)
    monkeypatch.setattr(dask_executor, "_COUNT_WORKERS", 0.2)


def test_jobs_that_fail_at_once_are_submitted_later_and_later_and_then_no_more(home, impatient):
    said: list[str] = []
    times: list[float] = []
    before = set(queue("--states=all"))
    _jobqueue()  # has its settings from its import

    def tell(line: str) -> None:
        said.append(line)
        times.append(time.monotonic())

    with (
        dask.config.set({"jobqueue.slurm.python": "/no/such/python"}),
        pytest.raises(
            LincorrError, match=r"^SLURM: 4 times in a row jobs ended \(FAILED\) .* resume$"
        ) as caught,
        open_executor(with_(), model_bytes=1, tell=tell),
    ):
        pass
    jobs = [line.split()[0] for line in queue("--states=all") if line not in before]
    assert len(jobs) == 4
    assert f"{home}/slurm-{max(map(int, jobs))}.out" in str(caught.value)
    assert any("/no/such/python: No such file or directory" in line for line in said)
    told = [
        at for at, line in zip(times, said, strict=True) if "before a worker came) and is submitted" in line
    ]
    assert len(told) == 2, "the first and second; the fourth was the last"
    assert times[-1] - told[0] > 0.4 + 0.8 + 1.6


def test_a_job_that_slurm_takes_and_never_starts_is_told_at_once_with_the_mend(home, impatient, controller):
    """Where partitions' limits are not enforced, a wrong account is taken."""
    conf = controller / "slurm.conf"
    strict = conf.read_text()
    said: list[str] = []
    try:
        conf.write_text(strict.replace("EnforcePartLimits=ALL", "EnforcePartLimits=NO"))
        subprocess.run(["scontrol", "reconfigure"], check=True)
        with (
            pytest.raises(
                LincorrError, match=r"^cluster\.wait: no worker .*PENDING \(Job's account"
            ) as caught,
            open_executor(with_(queue="paid", wait=3 / 60), model_bytes=1, tell=said.append),
        ):
            pass
    finally:
        conf.write_text(strict)
        subprocess.run(["scontrol", "reconfigure"], check=True)
    assert "--account" in str(caught.value)
    (line,) = [line for line in said if line.startswith("SLURM: ")]
    assert "Job's account not known" in line
    assert "cluster.directives" in line


def _kill_node(folder: Path, node: str) -> None:
    """Kill a node's daemon, its steps and all that runs in them, as a power failure does."""
    ours = {"SLURM_CONF": str(folder / "slurm.conf"), "SLURMD_NODENAME": node}
    psutil.Process(int((folder / f"run/{node}.pid").read_text())).kill()
    (job,) = (line.split()[0] for line in queue("--nodelist", node))
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if (
                f"slurmstepd: [{job}." in " ".join(process.cmdline())
                or ours.items() <= process.environ().items()
            ):
                process.kill()


@pytest.mark.slow
def test_tasks_of_a_node_that_is_lost_run_on_another(home, controller):
    tasks = Tasks(with_(workers=2, cpus=4), home, 120, 1.0)
    wait_until(lambda: len({job for _, job in tasks.ended()}) == 2, "two nodes do not work", PATIENCE)
    _kill_node(controller, "n1")
    try:
        tasks.finish(120)
        states = subprocess.check_output(["sinfo", "-hN", "-p", "cpu", "-o", "%N %t"], text=True)
    finally:
        subprocess.run(["slurmd", "-N", "n1"], check=True)
    assert "n1 down" in states
    assert any(line.startswith("1 worker died: ") for line in tasks.told)
