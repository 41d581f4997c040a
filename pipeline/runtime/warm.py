"""Workers that begin as copies of a process that has imported their libraries while the run was planned.

Python's fork server: one process imports, alone and without threads, and is forked whenever a worker starts.
Workers import once, and share the memory of what was imported, and of the model where it was loaded, too.
Only for worker processes of this machine, on Linux, without a GPU: CUDA must not be forked, and on other
systems workers start as before.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from lincorr.model.device import may_have_gpu
from lincorr.model.files import ModelSpec
from pipeline.config import ClusterSettings
from pipeline.runtime.environment import environment, variables_restored
from pipeline.runtime.interrupts import interrupts_wait

MODEL = "LINCORR_MODEL_AHEAD"
"""The variable that tells the process which model its workers will run."""

_is_warm = False


@contextmanager
def warm_workers(settings: ClusterSettings, model: ModelSpec, preload: str) -> Iterator[None]:
    """Begin to import and to load for the workers of this run, in a process that ends with the body.

    Args:
        model: that they will run.
        preload: a module that imports what they need, loads the model that `MODEL` tells, and never fails.
    """
    global _is_warm
    if not can_fork(settings, model.device) or _is_warm:
        yield
        return
    from multiprocessing import forkserver  # not everywhere

    with variables_restored(MODEL), interrupts_wait():
        # One thread: a process that has several must not be forked. Workers set their own number.
        os.environ |= {name: str(value) for name, value in environment(1, keep_memory=True).items()}
        os.environ[MODEL] = json.dumps(asdict(model))
        multiprocessing.set_forkserver_preload([preload])
        forkserver.ensure_running()
    _is_warm = True
    try:
        yield
    finally:
        end_warm_workers()


def end_warm_workers() -> None:
    """End the process, if there is one: it holds memory."""
    global _is_warm
    if _is_warm:
        _is_warm = False
        _stop()


def start_method() -> str:
    """How workers that run a model are started."""
    return "forkserver" if _is_warm else "spawn"


def can_fork(settings: ClusterSettings, device: str) -> bool:
    """Whether workers of a new run are forked from one process that imports and loads for them."""
    on_cpu = device == "cpu" or not may_have_gpu()
    has_fork = sys.platform == "linux" and hasattr(os, "fork")
    return has_fork and settings.kind == "local" and on_cpu


def _stop() -> None:
    """End the server at once, though it may be importing; the next one begins with another environment."""
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver  # it has no public end
    with suppress(ProcessLookupError, TypeError):
        os.kill(server._forkserver_pid, signal.SIGKILL)
    server._stop()
