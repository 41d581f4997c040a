"""How many workers a cluster begins with, and their threads, as far as that is known before it is there."""

from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.gpus import count_gpus
from pipeline.runtime.clusters.slurm import slurm_threads
from pipeline.runtime.clusters.worker_settings import local_shape
from pipeline.runtime.machine import cores


def shape(settings: ClusterSettings, worker_bytes: int, gpus: int) -> tuple[int, int | None]:
    """Return the number of workers to expect at first, and the threads of each if known here.

    Args:
        worker_bytes: that a worker holds, a model's weights for instance.
        gpus: of this machine, which the tasks will use.

    Raises:
        BadInput: of kind gpus, there are not as many.
    """
    if settings.kind == "local":
        return local_shape(settings, worker_bytes, gpus)
    if settings.kind == "gpus":
        workers = count_gpus(settings)
        return workers, settings.threads or max(1, cores() // workers)
    if settings.kind == "slurm":
        return settings.workers or 1, slurm_threads(settings)
    return settings.workers or 1, settings.threads
