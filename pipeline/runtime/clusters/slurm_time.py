"""Time limits of SLURM jobs: workers stop taking tasks before their job is killed."""

import asyncio
import os
import re
import time
from typing import Any

from distributed import Status, WorkerPlugin

_LONGEST_MARGIN = 600  # seconds before the time limit
_RESULTS = 30.0  # seconds in which the run takes the last results

_VARIABLE = "LINCORR_DRAIN_AT"  # seconds since the epoch

_DAYS = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?")  # days-hours[:minutes[:seconds]]
_HOURS = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)")  # [[hours:]minutes:]seconds, and minutes alone


def seconds_of(walltime: str) -> int | None:
    """Return the seconds of a time limit as `sbatch --time` takes it, None if it is none or unreadable."""
    if match := _DAYS.fullmatch(walltime):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if match := _HOURS.fullmatch(walltime):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if match[2] is None:
            return seconds * 60 or None  # 0: no limit
        return (hours * 60 + minutes) * 60 + seconds or None
    return None


def drain_lines(walltime: str | None) -> list[str]:
    """Return the lines of a job's script that say when its workers drain: up to 10 minutes before its limit.

    Jobs that start together drain at different times, so that some go on while new ones wait.
    """
    seconds = seconds_of(walltime) if walltime else None
    if seconds is None:
        return []
    margin = min(seconds // 3, _LONGEST_MARGIN)
    return [f"export {_VARIABLE}=$(( $(date +%s) + {seconds - margin} + RANDOM % {margin // 4 + 1} ))"]


class Drain(WorkerPlugin):
    """Take no more tasks when the job's time is nearly over, finish those that run, and end.

    Dask's own lifetime of a worker breaks off what runs.
    """

    name = "lincorr-drain"

    def setup(self, worker: Any) -> None:
        """Run once in each worker, including restarted ones."""
        if at := os.environ.get(_VARIABLE):
            self._draining = asyncio.get_running_loop().create_task(_drain(worker, float(at)))

    def teardown(self, worker: Any) -> None:
        """Run when the worker closes."""
        if task := getattr(self, "_draining", None):
            task.cancel()


async def _drain(worker: Any, at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    worker.status = Status.closing_gracefully  # the scheduler hears of it, and sends nothing more
    while worker.state.executing_count:
        await asyncio.sleep(0.1)
    limit = time.monotonic() + _RESULTS
    while worker.data and time.monotonic() < limit:
        await asyncio.sleep(0.1)
    reason = "worker-lifetime-reached"
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=True, stimulus_id=reason
    )
    worker.loop.add_callback(worker.close, nanny=True, reason=reason)  # which cancels this task
