"""Jobs of a SLURM cluster; the scheduler runs in this process, on a machine that the jobs can reach."""

import shutil
from typing import Any

from distributed import Security

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.worker_settings import GPU, inheritance
from pipeline.runtime.executor import TASKS_AT_ONCE


def slurm_threads(settings: ClusterSettings) -> int:
    """Return the threads of a worker: its share of the job's cores."""
    return settings.threads or max(1, (settings.cpus or 1) // max(1, settings.gpus or 1))


def open_slurm(settings: ClusterSettings, inherited: dict[str, Any]) -> Any:
    """Submit jobs to SLURM: one worker each, or one for each GPU of a job.

    Args:
        inherited: Dask settings for the workers.

    Raises:
        BadInput: dask-jobqueue is not installed, or the jobs cannot be submitted.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise missing("slurm", "dask-jobqueue", "cluster") from None
    if shutil.which("sbatch") is None:  # jobqueue would wait for workers forever
        raise BadInput("cluster.kind: slurm needs the command sbatch; start the run on a machine that has it")
    try:
        cluster = SLURMCluster(**slurm_options(settings, inherited))
        if settings.maximum is None:
            cluster.scale(settings.workers or max(1, settings.gpus or 1))
    except (OSError, ValueError, RuntimeError) as problem:
        raise BadInput(f"cluster.kind: SLURM accepts no jobs ({problem})") from problem
    return cluster


def slurm_options(settings: ClusterSettings, inherited: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of `SLURMCluster`.

    Every worker has `TASKS_AT_ONCE` threads for tasks: jobqueue divides "cores" by "processes" to get them,
    while `job_cpu` is what is requested of SLURM.
    """
    workers = settings.gpus or 1
    options: dict[str, Any] = {
        "cores": TASKS_AT_ONCE * workers,
        "processes": workers,
        "job_cpu": settings.cpus,
        "memory": settings.memory,
        "queue": settings.queue,
        "walltime": settings.walltime,
        "job_extra_directives": list(settings.directives),
        "job_script_prologue": [f"export {name}={value}" for name, value in inheritance(inherited).items()],
        "worker_extra_args": ["--no-dashboard"],
        "scheduler_options": {"host": settings.host, "dashboard_address": f"{settings.host}:0"},
        "security": Security() if settings.tls else None,
    }
    if settings.gpus:
        options["job_extra_directives"].append(f"--gres=gpu:{settings.gpus}")
        options["worker_command"] = "dask_cuda.cli worker"
        options["worker_extra_args"] += ["--resources", f"{GPU}=1", "--device-memory-limit", "0"]
    return options
