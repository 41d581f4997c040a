"""Where a process computes: its one compute thread, and the device that holds its arrays.

Libraries with threads of their own (torch's OpenMP) keep a team for each thread that calls them. With one
caller there is one team, and one task at a time has the device and its memory while others prepare and
write.
"""

import functools
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lincorr.arrays import free_bytes, gpu_fault, has_gpu, limit_memory
from lincorr.errors import LincorrError
from pipeline.runtime.executor import ignore

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")


def compute(function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    """Call a function on this process's compute thread, after the calls already queued.

    From that thread itself it is called at once: queued behind its own caller, it would wait forever.
    """
    if threading.current_thread() in _thread._threads:
        return function(*args, **kwargs)
    return _thread.submit(function, *args, **kwargs).result()


def no_memory(problem: MemoryError) -> LincorrError:
    """Return the one-line error for memory that ran out, the host's or a GPU's (CuPy's is one, too)."""
    how = f" ({problem})" if str(problem) else ""
    return LincorrError(
        f"out of memory{how}; set fit.memory or cluster.workers lower, or fit.device to cpu. Finished "
        "work is stored: rerun to resume"
    )


def own_device(asked: str, n_bytes: int, tell: Callable[[str], None] = ignore) -> str:
    """Return "cpu" or "cuda": where this process computes what it does without workers.

    That is a GPU if this process sees one with `n_bytes` free, unless "cpu" is asked for. Workers may have
    GPUs where this process has none, so "cuda" is not required here.

    Args:
        tell: called with a line if CuPy is installed and cannot use the GPU.
    """
    if asked == "cpu":
        return "cpu"
    if not has_gpu():
        _tell_fault(tell)
        return "cpu"
    if free_bytes() < n_bytes:
        return "cpu"
    limit_memory("cuda", 0)  # no limit: a task that ran in this process may have set one
    return "cuda"


def array_device(asked: str) -> str:
    """Return "cpu" or "cuda": where the arrays of a worker's tasks live. "auto" is a GPU if there is one.

    A GPU that cannot be used is named in the worker's log.

    Raises:
        LincorrError: "cuda" is asked for, and CuPy sees no GPU.
    """
    if asked == "cpu":
        return "cpu"
    if has_gpu():
        return "cuda"
    if asked == "cuda":
        raise LincorrError(
            f"fit.device: cuda is asked for, and CuPy {_why_not()}; install lincorr[gpu] on the workers, or "
            "set it to cpu"
        )
    _tell_fault(_log)
    return "cpu"


def _why_not() -> str:
    fault = gpu_fault()
    return f"cannot use the GPU here ({fault})" if fault else "sees no GPU here"


def _tell_fault(tell: Callable[[str], None]) -> None:
    if fault := gpu_fault():
        tell(
            f"fit.device: CuPy is installed and cannot use the GPU of {socket.gethostname()} ({fault}); what "
            "would run there runs on the CPU. Mend it, or set fit.device to cpu"
        )


@functools.cache
def _log(line: str) -> None:
    """Write a line to a worker's log, once."""
    print(line, file=sys.stderr)
