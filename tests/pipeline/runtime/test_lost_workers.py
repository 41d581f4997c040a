"""Workers that are gone, that cannot do the work, and that something ends."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker, get_worker

from lincorr.errors import BadInput, LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime import attendance, dask_executor, deaths
from pipeline.runtime.attendance import Attendance
from pipeline.runtime.clusters import strangers
from pipeline.runtime.clusters.strangers import deadly_settings
from pipeline.runtime.clusters.worker_settings import GPU
from pipeline.runtime.dask_executor import DaskExecutor, open_executor
from pipeline.runtime.deaths import Deaths, deaths_told
from pipeline.runtime.executor import Stage
from pipeline.runtime.versions import versions

PATIENCE = 60  # seconds until something that must happen has failed to


def end(process: psutil.Process) -> None:
    for part in [*process.children(recursive=True), process]:
        part.kill()


@pytest.fixture
def start_worker() -> Iterator[Callable[..., None]]:
    """Start a worker of a scheduler, with further variables; in the end, end it."""
    started: list[psutil.Popen] = []

    def start(address: str, **variables: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command += ["--death-timeout", "60"]
        started.append(psutil.Popen(command, env=os.environ | variables, **quiet))

    yield start
    for process in started:
        if process.is_running():
            end(process)
        process.wait()


def nannies() -> list[psutil.Process]:
    living = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in living if "distributed.cli.dask_worker" in one.cmdline()]


def end_all() -> None:
    for process in nannies():
        end(process)


@pytest.fixture
def without_lincorr(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that finds no lincorr."""
    for package in ("lincorr", "pipeline"):
        (tmp_path / package).mkdir()
        code = f"raise ModuleNotFoundError('No module named {package}', name={package!r})\n"
        (tmp_path / package / "__init__.py").write_text(code)
    return {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}


# All are gone


def test_a_line_comes_within_15_seconds():
    looks = dask_executor._COUNT_WORKERS
    assert looks + attendance._GRACE + looks <= 15


def test_where_no_worker_is_left_it_is_said_and_the_run_ends(scheduler, start_worker, monkeypatch):
    """The first time one comes back, the second time none."""
    monkeypatch.setattr(dask_executor, "_COUNT_WORKERS", 0.2)
    monkeypatch.setattr(attendance, "_GRACE", 0.3)
    said: list[str] = []
    settings = ClusterSettings(kind="address", address=scheduler[1], wait=30 / 60)

    def slowly(task: int) -> int:
        time.sleep(0.1)
        return task

    with open_executor(settings, model_bytes=1, tell=said.append) as executor:

        def replace(_: int) -> None:
            if not any("is gone" in line for line in said) and nannies():
                end(nannies()[0])
                threading.Timer(1, start_worker, [scheduler[1]]).start()

        done = executor.run(Stage("back", slowly, range(30)), replace)
        assert done == list(range(30))
        (line,) = [line for line in said if "gone" in line]
        assert line.startswith("The only worker is gone for ")
        assert f"waiting up to 30 s for one (cluster.wait): `dask worker {scheduler[1]}` starts one" in line

    settings = ClusterSettings(kind="address", address=scheduler[1], wait=1 / 60)
    with (
        pytest.raises(LincorrError, match=r"^cluster\.wait: the only worker is gone for [12] s .*resume$"),
        open_executor(settings, model_bytes=1, tell=said.append) as executor,
    ):
        executor.run(Stage("gone", slowly, range(1000)), lambda _: end_all())


def test_how_many_there_were_is_said_and_said_again(monkeypatch):
    clock, said = [0.0], list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    settings = ClusterSettings(kind="slurm", wait=3)
    room = Attendance(settings, said.append)
    for seconds, there in [(0, 0), (30, 4), (35, 1)]:
        clock[0] = seconds
        room.note(there)
    assert said == []
    for seconds in range(40, 220, 5):
        clock[0] = seconds
        room.note(0)
    assert [line.partition(";")[0] for line in said] == [
        f"None of 4 workers is left for {n}" for n in ("5 s", "65 s", "2.08 min")
    ]
    assert "squeue" in said[0]
    clock[0] = 220
    with pytest.raises(LincorrError, match=r"^cluster\.wait: none of 4 workers is left for 3 min"):
        room.note(0)


def test_a_first_worker_that_never_comes_is_waited_for_only_so_long(scheduler):
    said: list[str] = []
    settings = ClusterSettings(kind="address", address=scheduler[1], wait=0.5 / 60)
    with Client(scheduler[1]) as client:
        client.wait_for_workers(1, timeout=60)  # its nanny may not have begun yet
        end(nannies()[0])
        while client.nthreads():
            time.sleep(0.05)
    with (
        pytest.raises(LincorrError, match=r"^cluster\.wait: no worker has come for [01] s"),
        open_executor(settings, model_bytes=1, tell=said.append),
    ):
        pass
    assert f"Waiting for the first worker: `dask worker {scheduler[1]}` starts one" in said


def test_a_worker_that_dies_with_its_results_is_not_waited_for_without_end(scheduler, monkeypatch):
    """The last one, between the end of a task and its receipt: Dask's own `gather` has no end then."""
    monkeypatch.setattr(dask_executor, "_COUNT_WORKERS", 0.2)
    monkeypatch.setattr(attendance, "_GRACE", 0.3)
    settings = ClusterSettings(kind="address", address=scheduler[1], wait=1 / 60)
    ended: list[BaseException] = []
    with Client(scheduler[1]) as client:
        client.wait_for_workers(1, timeout=PATIENCE)

    def run() -> None:
        with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
            assert isinstance(executor, DaskExecutor)
            client, gather = executor._client, executor._client.gather

            def without_workers(*futures: Any, **options: Any) -> Any:
                end_all()
                while client.nthreads():
                    time.sleep(0.05)
                return gather(*futures, **options)

            monkeypatch.setattr(client, "gather", without_workers)
            try:
                executor.run(Stage("lost", lambda task: task, [0]))
            except LincorrError as problem:
                ended.append(problem)

    thread = threading.Thread(target=run, daemon=True)  # it would wait for ever
    thread.start()
    thread.join(PATIENCE)
    (problem,) = ended
    assert str(problem).startswith("cluster.wait: the only worker is gone for ")


def test_all_workers_count_whatever_dask_tells_without_being_asked(monkeypatch):
    """Dask of early 2026, which dask-cuda 26.2 wants, tells of five."""
    told = Client.scheduler_info
    monkeypatch.setattr(Client, "scheduler_info", lambda self, n_workers=5: told(self, n_workers=n_workers))
    here = {"host": "127.0.0.1", "dashboard": False}
    workers: dict[int, Any] = {
        i: {"cls": Worker, "options": here | ({"resources": {GPU: 1}} if i == 6 else {})} for i in range(7)
    }
    scheduler = {"cls": Scheduler, "options": here | {"dashboard_address": "127.0.0.1:0"}}
    with SpecCluster(workers, scheduler) as cluster, Client(cluster) as client:
        executor = DaskExecutor(client)
        stage = Stage("all", lambda task: get_worker().name, range(3), overlapping=True, on_device=True)
        assert executor.run(stage) == [6, 6, 6]
        executor.wait_for_a_worker()
        assert executor._window(1) == 7
        *_, line = deadly_settings(client, 10**15)
        assert "and 4 more" in line


# They cannot do the work


def test_a_worker_without_lincorr_is_one_line(scheduler, start_worker, without_lincorr):
    """Also where it comes later."""
    settings = ClusterSettings(kind="address", address=scheduler[1])
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        start_worker(scheduler[1], **without_lincorr)
        name = r"worker tcp://127\.0\.0\.1:\d+"
        executor._client.wait_for_workers(2, timeout=PATIENCE)
        with (
            pytest.raises(BadInput, match=rf"^{name} cannot import 'pipeline': install "),
            open_executor(settings, model_bytes=1, tell=lambda _: None),
        ):
            pass
        with pytest.raises(LincorrError, match=rf"^{name} cannot import 'pipeline': install .* resume$"):
            executor.run(Stage("late", lambda task: task, range(3)))


def test_a_scheduler_without_lincorr_is_one_line(without_lincorr, monkeypatch, request):
    for name, value in without_lincorr.items():
        monkeypatch.setenv(name, value)
    _, address = request.getfixturevalue("scheduler")
    with (
        pytest.raises(BadInput, match=r"^cluster\.address: the scheduler cannot import 'pipeline'"),
        open_executor(ClusterSettings(kind="address", address=address), model_bytes=1, tell=lambda _: None),
    ):
        pass


def test_workers_of_another_version_are_refused_by_name(scheduler, monkeypatch):
    assert set(versions()) == {"lincorr", "torch", "transformers"}
    ours = dict.fromkeys(versions(), "1.0.other")
    settings = ClusterSettings(kind="address", address=scheduler[1])
    parts = ", ".join(rf"{name} \S.* in place of 1\.0\.other" for name in ours)
    names = rf"{parts}; install the versions of the run there"
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        monkeypatch.setattr(dask_executor, "versions", lambda: ours)  # as if the worker had come later
        with pytest.raises(LincorrError, match=rf"^worker [\w.-]+:\d+: {names}\. .* resume$"):
            executor.run(Stage("other", lambda task: task, [0]))
    monkeypatch.setattr(strangers, "versions", lambda: ours)
    with (
        pytest.raises(BadInput, match=rf"^worker tcp://127\.0\.0\.1:\d+: {names}"),
        open_executor(settings, model_bytes=1, tell=lambda _: None),
    ):
        pass


# Something ends them


def test_settings_that_end_workers_are_told_at_the_start(scheduler):
    """Dask's own: silence of five minutes, and a share of the machine's memory."""
    said: list[str] = []
    settings = ClusterSettings(kind="address", address=scheduler[1])
    with open_executor(settings, model_bytes=10**15, tell=said.append):
        pass
    silence, memory = [line for line in said if line.startswith("Warning: ")]
    assert "silent for 300 s" in silence
    assert "worker-ttl: 30 minutes" in silence
    assert "1000001.5 GB; start workers with --memory-limit 0" in memory


def test_settings_that_end_no_worker_are_not_told():
    """Those that we give ourselves."""
    settings = ClusterSettings(kind="local", workers=1)
    with open_executor(settings, model_bytes=1, tell=lambda _: None) as executor:
        assert isinstance(executor, DaskExecutor)
        assert list(deadly_settings(executor._client, 10**15)) == []


def test_a_worker_that_dask_ends_for_memory_is_told_so(tmp_path):
    folder = str(tmp_path)

    def hold(tries: int) -> int:
        if not os.path.exists(f"{folder}/held"):
            open(f"{folder}/held", "x").close()
            held = [bytearray(b"x" * 10**7) for _ in range(100)]
            time.sleep(PATIENCE)
            del held
        return tries

    said: list[str] = []
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, memory_limit="700MB", dashboard_address="127.0.0.1:0"
    )
    with cluster, Client(cluster) as client, deaths_told(client, said.append) as known:
        assert client.submit(hold, 1, pure=False).result(timeout=PATIENCE) == 1
    ended, repeated = said
    assert ended.startswith("1 worker was ended by Dask for memory: beyond its limit (")
    assert repeated.endswith("died: 1")
    assert known.for_memory


@pytest.mark.parametrize(
    ("stimulus", "oom_kills", "told", "for_memory"),
    [
        (
            "handle-worker-cleanup-1",
            0,
            "1 worker died: killed, or its machine or connection was lost.",
            False,
        ),
        (
            "handle-worker-cleanup-1",
            1,
            "1 worker was killed: out of memory perhaps, for which the kernel",
            True,
        ),
        (
            "check-worker-ttl-1",
            0,
            "1 worker was given up by the scheduler: silent for longer than its",
            False,
        ),
    ],
)
def test_memory_is_blamed_only_where_it_was(stimulus, oom_kills, told, for_memory, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(deaths, "killed_for_memory", lambda: 3)
    known = Deaths(said.append)
    monkeypatch.setattr(deaths, "killed_for_memory", lambda: 3 + oom_kills)
    gone = {"action": "remove-worker", "expected": False, "worker": "tcp://a:1", "stimulus_id": stimulus}
    known.gone((0.0, gone))
    assert [line[: len(told)] for line in said] == [told]
    assert known.for_memory == for_memory
