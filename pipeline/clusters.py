"""The Dask twin of `Serial`: local worker processes, or any scheduler's address. Dask lives here."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dask
import psutil
from distributed import Client, LocalCluster, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker
from distributed.utils import silence_logging_cmgr

from lincorr.errors import BadInput, LincorrError
from lincorr.models import use_threads
from pipeline.config import ClusterSettings
from pipeline.device import compute
from pipeline.executor import Executor, Result, Serial, Stage, Task, ignore

_RETRIES = 2
_TASKS_AT_ONCE = 2  # of a worker: one computes, the other prepares or writes
_WINDOW = 4  # tasks in flight per worker: enough to keep it busy, few enough to stay light
_BYTES_BESIDE_MODEL = 1_500_000_000  # libraries, activations and one shard

_SCHEDULER_SETTINGS = {
    # A forward pass or a factorisation may hold the interpreter for minutes; that is no dead worker.
    "distributed.scheduler.worker-ttl": "30 minutes",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.work-stealing": False,  # tasks are few and equal; stealing only recomputes
    "distributed.worker.memory.target": False,  # tasks return receipts: there is nothing to spill
    "distributed.worker.memory.spill": False,
    "distributed.admin.log-length": 1000,
    # Looking at themselves costs workers a few per cent of a small machine.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Dask has glibc hand freed memory back at once, and every activation then costs page faults: seen to make
# a forward pass 1.4 times slower.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**30}

# Huge pages (glibc 2.35 and later; else ignored) gain another 5 to 10 %.
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class ComputeThreads(WorkerPlugin):
    """Give every worker's torch the same number of threads, so that workers share the cores."""

    name = "lincorr-compute-threads"
    idempotent = True

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def setup(self, worker: Any) -> None:
        """Run once in each worker, also in one that was restarted."""
        use_threads(self.threads)


class DaskExecutor:
    """Runs a stage's tasks on Dask workers, a bounded window at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def dashboard(self) -> str:
        """Address of the Dask dashboard."""
        return str(self._client.dashboard_link)

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Call the stage's function on every task; a worker that dies has its task run elsewhere.

        Raises:
            LincorrError: a task failed, or killed its worker again and again.
        """
        waiting = iter(enumerate(stage.tasks))
        position: dict[Any, int] = {}
        results: dict[int, Result] = {}
        running = as_completed()
        n_workers = max(1, len(self._client.nthreads()))
        mine = uuid4().hex[:8]  # a scheduler that others use too must not take their tasks for these

        def submit_next() -> None:
            for index, task in waiting:
                future = self._client.submit(
                    _attempt,
                    stage.function,
                    task,
                    stage.overlapping,
                    key=f"{stage.name}-{getattr(task, 'key', index)}-{index}-{mine}",
                    retries=_RETRIES,
                    pure=False,
                )
                position[future.key] = index
                running.add(future)
                return

        for _ in range(_WINDOW * n_workers):
            submit_next()
        for future in running:
            result = _result(future, stage.name)
            results[position[future.key]] = result
            on_result(result)
            submit_next()
        return [results[index] for index in range(len(stage.tasks))]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a task returns in place of raising a LincorrError, which Dask would try again."""

    problem: LincorrError


def _attempt(function: Callable[[Task], Result], task: Task, overlapping: bool) -> Result | _Refusal:
    try:
        return function(task) if overlapping else compute(function, task)
    except LincorrError as problem:
        return _Refusal(problem)


def _result(future: Any, stage: str) -> Any:
    try:
        result = future.result()
    except CancelledError as problem:
        raise LincorrError(
            f"{stage}: the Dask scheduler is gone; start it and its workers again (cluster.address). What "
            "was done is kept: run again to go on"
        ) from problem
    except KilledWorker as problem:
        raise LincorrError(
            f"{stage}: workers died again and again on one task, out of memory perhaps; set "
            "cluster.workers lower. What was done is kept: run again to go on"
        ) from problem
    if isinstance(result, _Refusal):
        raise result.problem
    return result


def local_shape(settings: ClusterSettings, model_bytes: int) -> tuple[int, int]:
    """Return (workers, threads of each) for this machine.

    One worker a core up to eight, each with an equal share of the cores, and no more workers than
    copies of the model fit into memory.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = psutil.virtual_memory().available // (model_bytes + _BYTES_BESIDE_MODEL)
    workers = settings.workers or max(1, min(cores, 8, int(fitting)))
    return workers, settings.threads or max(1, cores // workers)


@contextmanager
def open_executor(
    settings: ClusterSettings,
    *,
    model_bytes: int,
    tell: Callable[[str], None],
    keep_memory: bool = True,
) -> Iterator[Executor]:
    """Open the executor that the settings name, and close it and its processes afterwards.

    Args:
        model_bytes: of one copy of the model's weights, to see how many workers fit.
        tell: is told the address of the dashboard.
        keep_memory: whether workers keep freed memory for the next task: faster, but what they hold grows
            beyond what a task needs.

    Raises:
        BadInput: no scheduler answers at the address.
    """
    if settings.kind == "serial":
        yield Serial()
        return
    workers, threads = local_shape(settings, model_bytes)
    kept = _HUGE_PAGES | (_KEEP_MEMORY if keep_memory else {})
    # Set before a worker's libraries start: later they have their threads and their memory already.
    environment = {
        f"distributed.nanny.pre-spawn-environ.{name}": value
        for name, value in (kept | dict.fromkeys(_THREAD_VARIABLES, threads)).items()
    }
    with dask.config.set(_SCHEDULER_SETTINGS | environment):
        if settings.kind == "address":
            # A lost scheduler is told in one line of ours, not in Dask's tracebacks.
            with silence_logging_cmgr(logging.CRITICAL), _connect(settings.address or "") as client:
                if settings.threads:
                    client.register_plugin(ComputeThreads(settings.threads))
                yield _announced(client, tell)
            return
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=_TASKS_AT_ONCE,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                memory_limit=0,  # the operating system's own limit; pausing a worker gains nothing
            ) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(ComputeThreads(threads))
            yield _announced(client, tell)


def _connect(address: str) -> Client:
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as problem:
        raise BadInput(
            f"cluster.address: no Dask scheduler answers at {address!r} ({problem}); start one with "
            "`dask scheduler`"
        ) from problem


def _announced(client: Client, tell: Callable[[str], None]) -> DaskExecutor:
    executor = DaskExecutor(client)
    tell(f"Dask dashboard: {executor.dashboard}")
    return executor
