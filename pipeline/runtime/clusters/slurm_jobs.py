"""Jobs of a run in SLURM's queue: what ended is submitted again, and what waits is told.

dask-jobqueue submits a job once, and keeps one that ended, by its time limit or `scancel`, in its books.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

_LOOK = 5.0  # seconds between two looks at the queue while no worker has come, and
_LOOK_CALMLY = 15.0  # while some work: every look is a request to a controller that all users share
_TELL = 60.0  # seconds between two lines about jobs that wait

_ALIVE = {"CONFIGURING", "PENDING", "RESIZING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "STOPPED"}


@contextmanager
def jobs_kept(cluster: Any, tell: Callable[[str], None]) -> Iterator[None]:
    """Look after a SLURMCluster's jobs while the body runs, in the cluster's own event loop."""
    jobs = Jobs(cluster, tell)
    task: list[asyncio.Task[None]] = []
    cluster.loop.add_callback(lambda: task.append(asyncio.ensure_future(jobs.look_after())))
    try:
        yield
    finally:
        cluster.loop.add_callback(lambda: task[0].cancel())


class Jobs:
    """The jobs of a cluster, as SLURM knows them."""

    def __init__(self, cluster: Any, tell: Callable[[str], None]) -> None:
        """Begin with what the cluster has asked for; `tell` is called with lines."""
        self._cluster, self._tell = cluster, tell
        self._ended = 0
        self._nobody_since = self._told = time.monotonic()

    async def look_after(self) -> None:
        """Look at the queue again and again."""
        while True:
            await asyncio.sleep(_LOOK_CALMLY if self._cluster.scheduler.workers else _LOOK)
            ids = {name: job.job_id for name, job in self._cluster.workers.items()}
            queue = await _queue()
            if queue is None:  # the controller does not answer: its jobs go on without it
                continue
            await self._submit_again(ids, queue)
            self._tell_what_waits(ids, queue)

    async def _submit_again(
        self, ids: Mapping[str, str | None], queue: Mapping[str, tuple[str, str]]
    ) -> None:
        """Replace jobs that ended or were not taken; the new names differ, as a lost worker may keep its."""
        cluster = self._cluster
        states = {name: queue[job][0] if job in queue else "gone" for name, job in ids.items() if job}
        states |= {name: "not taken" for name, job in ids.items() if not job}
        ended = {name: state for name, state in states.items() if state not in _ALIVE | {"COMPLETING"}}
        for name in [name for name in ended if name in cluster.workers]:
            del cluster.workers[name]
            if name in cluster.worker_spec:
                cluster.worker_spec.update(cluster.new_worker_spec())
                del cluster.worker_spec[name]
        self._tell_what_ended(ended, ids)
        with suppress(RuntimeError):  # what SLURM does not take now is asked again at the next look
            await cluster._correct_state()

    def _tell_what_ended(self, ended: Mapping[str, str], ids: Mapping[str, str | None]) -> None:
        """Tell of the first, second, fourth job and so on."""
        for name, state in ended.items():
            self._ended += 1
            if self._ended & (self._ended - 1) == 0:
                job = f"job {ids[name]}" if ids[name] else "a job"
                self._tell(f"SLURM: {job} ended ({state}) and is submitted again; {self._ended} so far")

    def _tell_what_waits(self, ids: Mapping[str, str | None], queue: Mapping[str, tuple[str, str]]) -> None:
        """Tell, each minute in which there is no worker, what SLURM says of its jobs."""
        now = time.monotonic()
        if self._cluster.scheduler.workers:
            self._nobody_since = self._told = now
        if now - self._told < _TELL:
            return
        self._told = now
        minutes = round((now - self._nobody_since) / 60)
        self._tell(f"SLURM: no worker for {minutes} min; {waiting(list(ids.values()), queue)}")


def waiting(jobs: list[str | None], queue: Mapping[str, tuple[str, str]]) -> str:
    """Describe jobs by their states and SLURM's reasons, such as "2 jobs PENDING (Resources)"."""
    known = Counter(queue[job] for job in filter(None, jobs) if job in queue)
    parts = [
        f"{count} job{'s' * (count > 1)} {state}" + (f" ({reason})" if reason not in ("", "None") else "")
        for (state, reason), count in known.items()
    ]
    return ", ".join(parts) or "no job in its queue"


async def _queue() -> dict[str, tuple[str, str]] | None:
    """Return state and reason of every job of this user, also of those that ended lately; None if unknown."""
    command = ("squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r")
    try:
        asked = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    except OSError:
        return None
    out, _ = await asked.communicate()
    if asked.returncode:
        return None
    rows = (line.split("|", 2) for line in out.decode(errors="replace").splitlines())
    return {row[0]: (row[1], row[2].strip()) for row in rows if len(row) == 3}
