"""One worker on each GPU of this machine, or on each few of them."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

from lincorr.errors import BadInput
from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.local import LOOPBACK, open_local
from pipeline.runtime.clusters.missing import missing
from pipeline.runtime.clusters.worker_settings import GPU
from pipeline.runtime.executor import TASKS_AT_ONCE


def count_gpus(settings: ClusterSettings) -> int:
    """Return the number of workers: as set, or one for each visible GPU, or for each `gpus_per_worker`.

    Raises:
        BadInput: dask-cuda is not installed, or there are fewer GPUs.
    """
    try:
        from dask_cuda.utils import get_n_gpus
    except ImportError:
        raise missing("gpus", "dask-cuda", "gpu") from None
    try:
        found = int(get_n_gpus())
    except Exception as problem:  # of the NVIDIA management library, whose errors have no common parent
        raise BadInput(
            f"cluster.kind: no NVIDIA GPU is visible ({problem}); use cluster.kind local"
        ) from problem
    each = settings.gpus_per_worker
    wanted = settings.workers or max(1, found // each)
    if not each <= each * wanted <= found:
        setting = "workers" if settings.workers or each == 1 else "gpus_per_worker"
        raise BadInput(
            f"cluster.{setting}: {each * wanted} GPUs are asked for and {found} are visible; set it lower, "
            "or use cluster.kind local"
        )
    return wanted


def open_gpus(settings: ClusterSettings, workers: int) -> Any:
    """Start a scheduler and one worker a GPU, or one for each `gpus_per_worker`.

    dask-cuda gives a worker one GPU of its own: others are plain workers, which see their own GPUs only.

    Raises:
        BadInput: a package is not installed, or the GPUs cannot be used with these settings.
    """
    try:
        from dask_cuda import LocalCUDACluster
        from dask_cuda.utils import cuda_visible_devices
    except ImportError:
        raise missing("gpus", "dask-cuda", "gpu") from None
    try:
        if (each := settings.gpus_per_worker) > 1:
            return grouped(settings, cuda_visible_devices(0).split(",")[: workers * each])
        return LocalCUDACluster(**gpu_options(settings, workers))
    except (ValueError, RuntimeError, ImportError) as problem:
        raise BadInput(f"cluster.kind: workers on the GPUs cannot be started ({problem})") from problem


def grouped(settings: ClusterSettings, devices: Sequence[str]) -> Any:
    """Start a scheduler and a worker for every `gpus_per_worker` of the devices, neighbours together."""
    each = settings.gpus_per_worker
    cluster = open_local(settings, 0)
    for worker in range(len(devices) // each):
        spec = copy.deepcopy(cluster.new_spec)
        own = devices[worker * each : (worker + 1) * each]
        spec["options"] |= {"resources": {GPU: 1}, "env": {"CUDA_VISIBLE_DEVICES": ",".join(own)}}
        cluster.worker_spec[worker] = spec
    cluster.sync(cluster._correct_state)
    return cluster


def gpu_options(settings: ClusterSettings, workers: int) -> dict[str, Any]:
    """Return the keyword arguments of `LocalCUDACluster`."""
    host = settings.host or LOOPBACK
    options = {
        "n_workers": workers,
        "threads_per_worker": TASKS_AT_ONCE,
        "host": host,
        "dashboard_address": f"{host}:0",
        "silence_logs": logging.CRITICAL,
        "memory_limit": 0,
        "device_memory_limit": 0,  # tasks return receipts: there is nothing to spill
        "resources": {GPU: 1},
    }
    if settings.pool is not None:
        options["rmm_pool_size"] = settings.pool
        options["rmm_allocator_external_lib_list"] = ["torch", "cupy"]  # one pool for both
    if settings.protocol == "ucx":
        options["protocol"] = "ucx"
    return options
