"""Hold back Ctrl-C while processes are started, then let it end this process and not them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import Any


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Raise a KeyboardInterrupt that arrives in the body only at its end.

    Processes that the body starts never get it, though a terminal sends it to them as well: half started,
    they would print tracebacks, and Dask would start others in their place. They end when whoever started
    them closes them. Outside the main thread, where no signal arrives, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *event: came.append(event))
    try:
        with _blocked() if hasattr(signal, "pthread_sigmask") else nullcontext():  # Windows has no masks
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        if callable(before):
            before(*came[0])
        raise KeyboardInterrupt


@contextmanager
def _blocked() -> Iterator[None]:
    """New threads and processes inherit the mask; a library's older thread may still take a signal."""
    resource_tracker.ensure_running()  # whatever thread multiprocessing starts it in hears the signal again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
