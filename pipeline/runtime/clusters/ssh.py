"""Machines reached by SSH: a worker on each, the scheduler on the first."""

import importlib.util
from typing import Any

from distributed import SSHCluster

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.local import LOOPBACK
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.worker_settings import GPU
from pipeline.runtime.executor import TASKS_AT_ONCE


def open_ssh(settings: ClusterSettings) -> Any:
    """Start a scheduler and workers by SSH, as ~/.ssh/config says, with the Python at this process's path.

    Raises:
        BadInput: asyncssh is not installed, or a machine cannot be used.
    """
    if importlib.util.find_spec("asyncssh") is None:
        raise missing("ssh", "asyncssh", "cluster")
    try:
        return SSHCluster(**ssh_options(settings))
    except (OSError, RuntimeError) as problem:
        raise BadInput(
            f"cluster.hosts: no cluster can be started on {', '.join(settings.hosts)} ({problem}); "
            "`ssh HOST python -c 'import lincorr'` must work without a password"
        ) from problem


def ssh_options(settings: ClusterSettings) -> dict[str, Any]:
    """Return the keyword arguments of `SSHCluster`; settings travel with the connection."""
    protocol = "tls://" if settings.tls else "tcp://"
    first = settings.hosts[0]
    worker: dict[str, Any] = {"nthreads": TASKS_AT_ONCE, "memory_limit": 0}
    several = settings.gpus_per_worker > 1
    if several:  # a plain worker has all that it sees
        worker["resources"] = {GPU: 1}
    elif settings.gpus:
        worker |= {"resources": f"{GPU}=1", "device_memory_limit": 0}
    return {
        "hosts": [first, *settings.hosts],
        "scheduler_options": {
            "host": settings.host or first,
            "port": 0,
            "protocol": protocol,
            "dashboard_address": f"{settings.host or LOOPBACK}:0",
        },
        "worker_options": worker,
        "worker_class": "dask_cuda.CUDAWorker" if settings.gpus and not several else "distributed.Nanny",
    }
