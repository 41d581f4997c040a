"""Settings that workers and schedulers inherit through Dask wherever they are started."""

import asyncio
from typing import Any

import dask
from distributed import WorkerPlugin

from pipeline.config import ClusterSettings
from pipeline.runtime.environment import environment
from pipeline.runtime.machine import available_bytes, cores

STRANGERS = "lincorr-strangers"  # the topic of events of workers that cannot import lincorr
GPU = "GPU"  # the resource that a worker with a GPU declares

WORKER_TTL = 1800  # seconds of silence after which a scheduler gives up a worker
BYTES_BESIDE_MODEL = 1_500_000_000  # libraries, activations and one shard

_SETTINGS = {
    # A forward pass or a factorisation may hold the interpreter for minutes; the worker is not dead.
    "distributed.scheduler.worker-ttl": f"{WORKER_TTL // 60} minutes",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.work-stealing": False,  # tasks are few and equal; stealing only recomputes
    "distributed.worker.memory.target": False,  # tasks return receipts: there is nothing to spill
    "distributed.worker.memory.spill": False,
    "distributed.admin.log-length": 1000,
    # Self-monitoring costs workers a few per cent of a small machine.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


def worker_limits(threads: int | None) -> WorkerPlugin:
    """Give every worker the same number of threads, so that workers share the cores, and Dask's memory limit.

    Without a number, a worker takes no more threads than it has cores, wherever it is. The class is made here
    so that it travels by value: a worker without lincorr would end as it reads the plugin, without a word to
    the run. This way it logs an event on `STRANGERS`.
    """

    topic = STRANGERS

    class WorkerLimits(WorkerPlugin):
        name = "lincorr-worker-limits"
        idempotent = True

        async def setup(self, worker: Any) -> None:
            """Run once in each worker, including restarted ones."""
            try:
                from pipeline.runtime.machine import limit_threads, obey_dask
            except ImportError as problem:
                worker.log_event(topic, {"worker": worker.address, "missing": problem.name})
                await asyncio.sleep(0.5)  # the first task, which it cannot read either, ends it
                return
            obey_dask(worker.memory_manager.memory_limit)
            limit_threads(threads)

    return WorkerLimits()


def dask_settings(threads: int | None, *, keep_memory: bool) -> dict[str, Any]:
    """Return the Dask settings of a run: dotted name -> value.

    Args:
        threads: of each worker; None leaves it to the worker's machine.
        keep_memory: whether workers keep freed memory for the next task.
    """
    variables = environment(threads, keep_memory=keep_memory)
    # Set before a worker's libraries start: later, their threads and memory are already allocated.
    prefix = "distributed.nanny.pre-spawn-environ."
    return _SETTINGS | {prefix + name: value for name, value in variables.items()}


def inheritance(settings: dict[str, Any]) -> dict[str, str]:
    """Return the environment variable that passes Dask settings to a process on another machine."""
    nested: dict[str, Any] = {}
    dask.config.set(settings, config=nested)
    return {"DASK_INTERNAL_INHERIT_CONFIG": dask.config.serialize(nested)}


def local_shape(settings: ClusterSettings, model_bytes: int, gpus: int = 0) -> tuple[int, int]:
    """Return (workers, threads of each) for this machine.

    One worker per core up to eight, each with an equal share of the cores, and no more workers than copies
    of the model fit into memory. Only one if the model runs on a GPU, since all would share the same one.
    """
    fitting = available_bytes() // (model_bytes + BYTES_BESIDE_MODEL)
    by_size = 1 if gpus else max(1, min(cores(), 8, int(fitting)))
    workers = settings.workers or settings.maximum or by_size
    return workers, settings.threads or max(1, cores() // workers)
