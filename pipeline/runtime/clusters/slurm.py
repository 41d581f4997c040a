"""Jobs of a SLURM cluster; the scheduler runs in this process, on a machine that the jobs can reach."""

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Security

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.attendance import Attendance
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.slurm_jobs import jobs_kept
from pipeline.runtime.clusters.slurm_refusals import refuse_what_slurm_refuses
from pipeline.runtime.clusters.slurm_time import drain_lines
from pipeline.runtime.clusters.worker_settings import GPU, inheritance
from pipeline.runtime.executor import TASKS_AT_ONCE

# Dask cancels the job of a worker that is away for 15 seconds: less than the imports of one that its nanny
# starts again. Whether a job has ended is SLURM's to say.
_NEVER = "1000 days"


def slurm_threads(settings: ClusterSettings) -> int:
    """Return the threads of a worker: its share of the job's cores."""
    return settings.threads or max(1, (settings.cpus or 1) // settings.workers_per_job)


@contextmanager
def open_slurm(settings: ClusterSettings, inherited: dict[str, Any], attendance: Attendance) -> Iterator[Any]:
    """Submit jobs to SLURM, one worker each or one for each GPU of a job, and again when they end.

    Args:
        inherited: Dask settings for the workers.
        attendance: is told what the queue does.

    Raises:
        BadInput: dask-jobqueue is not installed, or SLURM refuses the jobs.
    """
    cluster_class = _jobqueue()
    if shutil.which("sbatch") is None:  # jobqueue would wait for workers forever
        raise BadInput("cluster.kind: slurm needs the command sbatch; start the run on a machine that has it")
    try:
        opened = cluster_class(**slurm_options(settings, inherited))
    except (OSError, ValueError, RuntimeError) as problem:
        raise BadInput(f"cluster.kind: SLURM accepts no jobs ({problem})") from problem
    with dask.config.set({"distributed.deploy.lost-worker-timeout": _NEVER}), opened as cluster:
        refuse_what_slurm_refuses(cluster.job_script())
        if settings.maximum is None:
            cluster.scale(settings.workers or settings.workers_per_job)
        with jobs_kept(cluster, attendance):
            yield cluster


def _jobqueue() -> Any:
    """Import dask-jobqueue, which takes over Ctrl-C as it is imported, and give Ctrl-C back."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise missing("slurm", "dask-jobqueue", "cluster") from None
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    return SLURMCluster


def slurm_options(settings: ClusterSettings, inherited: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of `SLURMCluster`.

    Every worker has `TASKS_AT_ONCE` threads for tasks: jobqueue divides "cores" by "processes" to get them,
    while `job_cpu` is what is requested of SLURM.
    """
    workers = settings.workers_per_job
    several = settings.gpus_per_worker if settings.gpus_per_worker > 1 else None
    gpus = several or settings.gpus
    walltime = settings.walltime or dask.config.get("jobqueue.slurm.walltime", None)
    exports = [f"export {name}={value}" for name, value in inheritance(inherited).items()]
    options: dict[str, Any] = {
        "cores": TASKS_AT_ONCE * workers,
        "processes": workers,
        "job_cpu": settings.cpus,
        "memory": settings.memory,
        "queue": settings.queue,
        "walltime": settings.walltime,
        "job_extra_directives": list(settings.directives),
        "job_script_prologue": exports + drain_lines(walltime),
        "worker_extra_args": ["--no-dashboard"],
        "scheduler_options": {"host": settings.host, "dashboard_address": f"{settings.host}:0"},
        "security": Security() if settings.tls else None,
    }
    if gpus:
        options["job_extra_directives"].append(f"--gres=gpu:{gpus}")
        options["worker_extra_args"] += ["--resources", f"{GPU}=1"]
    if gpus and not several:  # otherwise a plain worker has all that SLURM gives to the job
        options["worker_command"] = "dask_cuda.cli"
        options["worker_extra_args"] += ["--device-memory-limit", "0"]
    return options
