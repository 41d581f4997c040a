"""Worker processes on this machine."""

import logging

from distributed import LocalCluster

from pipeline.config import ClusterSettings
from pipeline.runtime.executor import TASKS_AT_ONCE

LOOPBACK = "127.0.0.1"


def open_local(settings: ClusterSettings, workers: int) -> LocalCluster:
    """Start a scheduler and workers; nothing outside this machine can reach them unless `host` says so."""
    host = settings.host or LOOPBACK
    return LocalCluster(
        n_workers=settings.minimum or 1 if settings.maximum else workers,
        threads_per_worker=TASKS_AT_ONCE,
        host=host,
        dashboard_address=f"{host}:0",
        silence_logs=logging.CRITICAL,
        memory_limit=0,  # left to the operating system; pausing a worker gains nothing
    )
