"""The Dask twin of `Serial`, and the one entrance to every kind of cluster."""

import asyncio
import logging
import time
from collections.abc import Callable, Container, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import dask
from distributed import Client, as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from distributed.utils import silence_logging_cmgr

from lincorr.errors import LincorrError
from pipeline.config import ClusterSettings
from pipeline.runtime.attempt import Refusal, attempt
from pipeline.runtime.attendance import Attendance
from pipeline.runtime.clusters.address import connect
from pipeline.runtime.clusters.collector import collected_seldom
from pipeline.runtime.clusters.exposed import exposure_note
from pipeline.runtime.clusters.gpus import open_gpus
from pipeline.runtime.clusters.kubernetes import open_kubernetes
from pipeline.runtime.clusters.local import open_local
from pipeline.runtime.clusters.shape import shape
from pipeline.runtime.clusters.slurm import open_slurm
from pipeline.runtime.clusters.slurm_time import Drain
from pipeline.runtime.clusters.ssh import open_ssh
from pipeline.runtime.clusters.strangers import deadly_settings, refuse_strange_scheduler, refuse_strangers
from pipeline.runtime.clusters.tls import tls_settings
from pipeline.runtime.clusters.worker_settings import (
    GPU,
    dask_settings,
    worker_limits,
)
from pipeline.runtime.deaths import LESS_MEMORY, Deaths, deaths_told
from pipeline.runtime.environment import variables_restored
from pipeline.runtime.executor import (
    TASKS_AT_ONCE,
    Executor,
    Result,
    Serial,
    Stage,
    Task,
    Waiting,
    ignore,
)
from pipeline.runtime.interrupts import interrupts_wait
from pipeline.runtime.steps import steps_told
from pipeline.runtime.versions import versions
from pipeline.runtime.warm import end_warm_workers, start_method

T = TypeVar("T")

_RETRIES = 2
_WINDOW = 4  # tasks in flight per worker: enough to keep it busy, few enough to stay light
_COUNT_WORKERS = 5.0  # seconds between two looks at how many workers there are, at most
_EACH_WORKER = 0.05  # seconds for each, where a look also says how far their tasks are
_PATIENT = ClusterSettings(wait=100_000)


class DaskExecutor:
    """Runs a stage's tasks on Dask workers, a bounded window at a time."""

    def __init__(self, client: Client, workers: int = 1, attendance: Attendance | None = None) -> None:
        """Run on a client's workers.

        Args:
            workers: expected; those that join later are found.
            attendance: says where there is no worker, and gives up; None waits for weeks.
        """
        self._client = client
        self._workers = workers
        self._attendance = attendance or Attendance(_PATIENT, ignore)
        self._counted = -_COUNT_WORKERS
        self.deaths: Deaths | None = None

    @property
    def workers(self) -> int:
        """How many workers there are, or are expected."""
        return max(self._workers, len(self._client.nthreads()))

    @property
    def dashboard(self) -> str:
        """Address of the Dask dashboard."""
        return str(self._client.dashboard_link)

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Call the stage's function on every task; a worker that dies has its task run elsewhere.

        Raises:
            LincorrError: a task failed, or killed its worker repeatedly; there was no worker for too long.
        """
        waiting = Waiting(stage)
        position: dict[Any, int] = {}
        results: dict[int, Result] = {}
        running = as_completed()
        watch = _Watch(self._resources(stage), stage.under_way, position)
        # what the dashboard shows of a key is its beginning; the rest keeps ours apart on a shared scheduler
        name = f"{stage.name}-{uuid4().hex[:8]}"

        def submit_up_to(window: int) -> None:
            taken: list[tuple[int, Task]] = []
            while len(position) + len(taken) < window and (one := waiting.take()) is not None:
                taken.append(one)
            if not taken:
                return
            # in one graph: the scheduler takes more than a millisecond for each
            futures = self._client.map(
                partial(
                    attempt,
                    stage.function,
                    overlapping=stage.overlapping,
                    counts=stage.under_way is not None,
                    ours=versions(),
                ),
                [task for _, task in taken],
                key=[(name, str(getattr(task, "key", "")), i) for i, task in taken],
                retries=_RETRIES,
                resources=watch.resources,
                pure=False,
            )
            for future, (index, _) in zip(futures, taken, strict=True):
                position[future.key] = index
            running.update(futures)

        # tasks that others need must not queue behind tasks that can wait
        per_worker = 1 if stage.needs else _WINDOW
        submit_up_to(self._window(per_worker))
        for done in self._finished(running, watch):
            for future, result in zip(done, self._results(done, stage.name, watch), strict=True):
                index = position.pop(future.key)
                results[index] = result
                waiting.done(index)
                on_result(result)
            done.clear()  # a worker that drains waits until nobody holds its results
            del future
            submit_up_to(self._window(per_worker))
        return [results[index] for index in range(len(stage.tasks))]

    def _finished(self, running: as_completed, watch: "_Watch") -> Iterator[list[Any]]:
        """Yield finished futures as they come, and look after the workers."""
        while not running.is_empty():
            self._look_after(watch)
            if running.has_ready():
                yield running.next_batch(block=False)
                continue
            with running.thread_condition:  # as Dask's own `next`, which never returns without a result
                running.thread_condition.wait(0.1)

    def _look_after(self, watch: "_Watch") -> None:
        """Count the workers now and then, and hear how far their tasks are.

        Raises:
            LincorrError: there has been no worker for too long, or one has come that has no lincorr.
        """
        if self.deaths is not None and self.deaths.stranger:
            raise LincorrError(
                f"{self.deaths.stranger}: install the same lincorr there. Finished work is stored: rerun "
                "to resume"
            )
        pause = _COUNT_WORKERS
        if watch.under_way:
            pause = min(pause, 1 + _EACH_WORKER * self._attendance.there)
        if time.monotonic() - self._counted > pause:
            self._count(watch)

    def _count(self, watch: "_Watch") -> None:
        """Count the workers that can run tasks, and hear how far those are.

        Raises:
            LincorrError: there has been none for too long.
        """
        self._counted = time.monotonic()
        try:
            info = self._scheduler_info()
        except OSError:  # a scheduler that is gone is told where its tasks end
            return
        workers = info["workers"].values()
        if len(workers) < info["n_workers"]:  # the client's own look, without workers, came between
            return
        if watch.under_way:
            watch.under_way(steps_told(workers, watch.unfinished))
        if watch.resources:
            able = [worker for worker in workers if GPU in worker["resources"]]
            self._attendance.note(len(able), "worker with a GPU")
        else:
            self._attendance.note(len(workers))

    def wait_for_a_worker(self) -> None:
        """Return when there is a worker.

        Raises:
            LincorrError: none came in time.
        """
        self._count(_Watch())
        if self._attendance.there:
            return
        self._attendance.begin()
        while not self._attendance.there:
            time.sleep(0.1)
            self._count(_Watch())

    def _results(self, futures: Sequence[Any], stage: str, watch: "_Watch") -> list[Any]:
        """Gather finished futures in one call, since each round trip to a worker costs milliseconds.

        A worker that died with its results has their tasks run again: this may wait for another worker.

        Raises:
            LincorrError: a task failed, killed its worker repeatedly, or lost its scheduler.
        """
        with _one_line_errors(stage, self.deaths, self._attendance):
            gathering = self._client.gather(list(futures), asynchronous=True)
            results: list[Any] = self._waited_for(gathering, watch)
        for result in results:
            if isinstance(result, Refusal):
                raise result.problem
        return results

    def _waited_for(self, gathering: Coroutine[Any, Any, T], watch: "_Watch") -> T:
        """Return what a coroutine of the client returns, and look after the workers meanwhile."""
        loop: Any = self._client.loop
        found = asyncio.run_coroutine_threadsafe(gathering, loop.asyncio_loop)
        try:
            while not wait([found], timeout=_COUNT_WORKERS).done:
                self._look_after(watch)
        except BaseException:
            found.cancel()
            raise
        return found.result()

    def _window(self, per_worker: int = _WINDOW) -> int:
        return per_worker * max(self._workers, self._attendance.there)

    def _resources(self, stage: Stage[Any, Any]) -> dict[str, float] | None:
        """Require a GPU for stages that use one, if any worker declares one."""
        workers = self._scheduler_info()["workers"].values()
        if not stage.on_device or not any(GPU in worker["resources"] for worker in workers):
            return None
        return {GPU: 1 / TASKS_AT_ONCE if stage.overlapping else 1}

    def _scheduler_info(self) -> Mapping[str, Any]:
        """Return what the scheduler knows of itself and of all workers, not of five as Dask of early 2026."""
        info: Mapping[str, Any] = self._client.scheduler_info(n_workers=-1)
        return info


@dataclass(frozen=True, slots=True)
class _Watch:
    """What a look at the workers is for.

    Attributes:
        resources: that a worker must have to count.
        under_way: called with the steps of unfinished tasks, and
        unfinished: Dask's keys of those.
    """

    resources: dict[str, float] | None = None
    under_way: Callable[[Mapping[str, int]], None] | None = None
    unfinished: Container[Any] = ()


@contextmanager
def _one_line_errors(stage: str, deaths: Deaths | None, attendance: Attendance) -> Iterator[None]:
    """Turn what Dask raises into one line."""
    resume = "Finished work is stored: rerun to resume"
    try:
        yield
    # the last while results are on their way
    except (CancelledError, asyncio.CancelledError, CommClosedError) as problem:
        raise LincorrError(f"{stage}: the Dask scheduler is gone; {attendance.gone()}. {resume}") from problem
    except KilledWorker as problem:
        why = f", for memory; {LESS_MEMORY}" if deaths and deaths.for_memory else "; their logs may say why"
        raise LincorrError(f"{stage}: workers died repeatedly on one task{why}. {resume}") from problem
    except ImportError as problem:
        raise LincorrError(
            f"{stage}: a worker cannot import {problem.name or problem}; install lincorr there as it is "
            f"here, with the same extras. {resume}"
        ) from problem


@contextmanager
def open_executor(
    settings: ClusterSettings,
    *,
    model_bytes: int,
    tell: Callable[[str], None],
    gpus: int = 0,
    keep_memory: bool = True,
) -> Iterator[Executor]:
    """Open the executor that the settings name; afterwards close it and everything that it started.

    Args:
        model_bytes: of one copy of the model's weights; limits how many workers fit.
        tell: called with each message, such as the address of the dashboard.
        gpus: of this machine, which the tasks will use.
        keep_memory: whether workers keep freed memory for the next task: faster, but they come to hold more
            than a task needs.

    Raises:
        BadInput: the cluster cannot be used: no scheduler answers, a package is missing, a job is refused, or
            scheduler or workers have no lincorr, or another one.
        LincorrError: no worker came.
    """
    if settings.kind == "serial":
        yield Serial()
        return
    workers, threads = shape(settings, model_bytes, gpus)
    used = settings.gpus_per_worker
    if gpus > used and settings.kind == "local":
        what = "one of them is" if used == 1 else f"{used} of them are"
        tell(f"{gpus} GPUs are visible and {what} used; cluster.kind gpus uses all")
    if warning := exposure_note(settings):
        tell(warning)
    inherited = dask_settings(threads, keep_memory=keep_memory) | tls_settings(settings)
    attendance = Attendance(settings, tell)
    method = start_method() if keep_memory and settings.kind == "local" else "spawn"
    with (
        variables_restored(),
        dask.config.set(inherited | {"distributed.worker.multiprocessing-method": method}),
        _client(settings, workers, inherited, attendance) as client,
    ):
        if settings.kind == "address":
            refuse_strange_scheduler(client)
        client.register_plugin(worker_limits(threads))
        executor = DaskExecutor(client, settings.maximum or workers, attendance)
        tell(f"Dask dashboard: {executor.dashboard}")
        executor.wait_for_a_worker()
        if settings.kind not in ("local", "gpus"):
            refuse_strangers(client)
        if settings.kind == "address":
            for line in deadly_settings(client, model_bytes):
                tell(line)
        with collected_seldom(client), deaths_told(client, tell) as executor.deaths:
            yield executor
    end_warm_workers()


@contextmanager
def _client(
    settings: ClusterSettings, workers: int, inherited: dict[str, Any], attendance: Attendance
) -> Iterator[Client]:
    if settings.kind == "address":
        # A lost scheduler is reported in one line of ours, not in Dask's tracebacks.
        with silence_logging_cmgr(logging.CRITICAL), connect(settings.address or "") as client:
            yield client
        return
    openers: dict[str, Callable[[], Any]] = {
        "local": lambda: open_local(settings, workers),
        "gpus": lambda: open_gpus(settings, workers),
        "ssh": lambda: open_ssh(settings),
        "slurm": lambda: open_slurm(settings, inherited, attendance),
        "kubernetes": lambda: open_kubernetes(settings, inherited, attendance),
    }
    # Other kinds may wait long for their machines.
    here = interrupts_wait() if settings.kind in ("local", "gpus") else nullcontext()
    with here:
        opened = openers[settings.kind]()
    with opened as cluster, _quiet_if_interrupted():
        if settings.maximum is not None:
            cluster.adapt(minimum=settings.minimum or 1, maximum=settings.maximum)
        with Client(cluster) as client, _quiet_if_interrupted():
            if settings.kind == "slurm":
                client.register_plugin(Drain())
            yield client


@contextmanager
def _quiet_if_interrupted() -> Iterator[None]:
    """After Ctrl-C, keep asyncio from reporting every call that closing cuts off."""
    try:
        yield
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
