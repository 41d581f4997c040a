"""Jobs of a run in SLURM's queue: what ended is submitted again, and what waits is told.

dask-jobqueue submits a job once, and keeps one that ended, by its time limit or `scancel`, in its books. A
job that ends before its worker comes is submitted again later and later.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from pipeline.runtime.attendance import Attendance
from pipeline.runtime.clusters.slurm_queue import Queue, ask_queue, last_lines, mend, waiting
from pipeline.runtime.seldom import is_told

_LOOK = 5.0  # seconds between two looks at the queue while no worker has come, and
_LOOK_CALMLY = 15.0  # while some work: every look is a request to a controller that all users share
_LONGEST_PAUSE = 300.0  # seconds before jobs that fail at once are submitted again
_IN_A_ROW = 4  # submissions that fail at once in the same way, after which another one is hopeless

_ALIVE = {"CONFIGURING", "PENDING", "RESIZING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "STOPPED"}
_BY_ITSELF = {"COMPLETED", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}  # how a job ends that nobody else ended
_NOT_TAKEN = "not taken"  # by sbatch


@contextmanager
def jobs_kept(cluster: Any, attendance: Attendance) -> Iterator[None]:
    """Look after a SLURMCluster's jobs while the body runs, in the cluster's own event loop."""
    jobs = Jobs(cluster, attendance)
    task: list[asyncio.Task[None]] = []
    cluster.loop.add_callback(lambda: task.append(asyncio.ensure_future(jobs.look_after())))
    try:
        yield
    finally:
        cluster.loop.add_callback(lambda: task[0].cancel())


class Jobs:
    """The jobs of a cluster, as SLURM knows them."""

    def __init__(self, cluster: Any, attendance: Attendance) -> None:
        """Begin with what the cluster has asked for; `attendance` is told of it."""
        self._cluster, self._attendance = cluster, attendance
        self._seen: set[str] = set()  # jobs of which a worker has come
        self._ended: dict[str, str] = {}  # jobs that are to be submitted again -> how they ended
        self._count = 0
        self._failures: list[str] = []  # how jobs ended that had no worker, by submission, since one last had
        self._not_before = 0.0
        self._reasons: set[str] = set()

    async def look_after(self) -> None:
        """Look at the queue again and again, until that is hopeless."""
        while self._attendance.hopeless is None:
            await asyncio.sleep(_LOOK_CALMLY if self._cluster.scheduler.workers else _LOOK)
            ids = {name: job.job_id for name, job in self._cluster.workers.items()}
            self._note_workers(ids)
            queue = await ask_queue()
            if queue is None:  # the controller does not answer: its jobs go on without it
                continue
            await self._note_ends(ids, queue)
            await self._submit_again()
            said = f"{waiting(ids.values(), queue)}; `squeue --me` shows its jobs"
            self._attendance.awaited = partial(str, said)
            self._tell_reasons([queue[job] for job in ids.values() if job and job in queue])

    def _note_workers(self, ids: Mapping[str, str | None]) -> None:
        """Take down which jobs have workers; those of a job with several are numbered."""
        names = [str(worker.name) for worker in self._cluster.scheduler.workers.values()]
        seen = {job for name in names for job in (name, name.rpartition("-")[0]) if job in ids}
        if seen - self._seen:
            self._failures.clear()
            self._not_before = 0.0
        self._seen |= seen

    async def _note_ends(self, ids: Mapping[str, str | None], queue: Queue) -> None:
        """Take down which jobs have ended or were not taken, and when they are submitted again."""
        states = {name: queue[job][0] if job in queue else "gone" for name, job in ids.items() if job}
        states |= {name: _NOT_TAKEN for name, job in ids.items() if not job}
        ended = {name: state for name, state in states.items() if state not in _ALIVE | {"COMPLETING"}}
        new = {name: state for name, state in ended.items() if name not in self._ended}
        self._ended = ended
        failed = [name for name in new if name not in self._seen]
        if failed and time.monotonic() >= self._not_before:  # later ones are of the same submission
            self._failures.append(new[failed[-1]])
            pause = min(_LOOK * 2 ** (len(self._failures) - 1), _LONGEST_PAUSE)
            self._not_before = time.monotonic() + pause
            await self._despair(ids[failed[-1]])
        for name, state in new.items():
            self._tell_end(ids[name], state, at_once=name in failed)

    async def _despair(self, job: str | None) -> None:
        """Say that all is hopeless where jobs fail in the same way again and again, and nobody works."""
        last = self._failures[-_IN_A_ROW:]
        same = len(last) == _IN_A_ROW and len(set(last)) == 1 and last[0] in _BY_ITSELF
        if not same or job is None or self._cluster.scheduler.workers:
            return
        name, lines = await last_lines(job)
        for line in lines:
            self._attendance.tell(f"job {job}: {line}")
        why = "says why" if lines else "should say why, and cannot be read here"
        self._attendance.hopeless = (
            f"SLURM: {_IN_A_ROW} times in a row jobs ended ({last[0]}) before a worker came; the log of the "
            f"last, {name}, {why}"
        )

    def _tell_end(self, job: str | None, state: str, *, at_once: bool) -> None:
        """Tell of the first, second, fourth job and so on."""
        self._count += 1
        if is_told(self._count) and self._attendance.hopeless is None:
            who = f"job {job}" if job else "a job"
            when = f" in {self._not_before - time.monotonic():.0f} s" if at_once else ""
            how = f"{state}, before a worker came" if at_once and job else state
            self._attendance.tell(
                f"SLURM: {who} ended ({how}) and is submitted again{when}; {self._count} so far"
            )

    async def _submit_again(self) -> None:
        """Replace jobs that ended; the new names differ, as a lost worker may keep its."""
        if time.monotonic() < self._not_before or self._attendance.hopeless:
            return
        cluster = self._cluster
        for name in [name for name in self._ended if name in cluster.workers]:
            del cluster.workers[name]
            if name in cluster.worker_spec:
                cluster.worker_spec.update(cluster.new_worker_spec())
                del cluster.worker_spec[name]
        self._ended = {}
        with suppress(RuntimeError):  # what SLURM does not take now is asked again later
            await cluster._correct_state()

    def _tell_reasons(self, known: list[tuple[str, str]]) -> None:
        """Tell, once, why a job will wait for ever."""
        for state, reason in known:
            if state == "PENDING" and reason not in self._reasons and (helps := mend(reason)):
                self._reasons.add(reason)
                self._attendance.tell(f"SLURM: a job waits ({reason}): {helps}")
