"""Calls of one function in several processes, where there are enough calls to be worth it."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from pipeline.runtime.interrupts import interrupts_wait
from pipeline.runtime.machine import available_bytes, cores

FEW = 12
"""Fewer calls are made in this process: others take a second or two to start."""

_EACH = 4  # calls at least that a process should have
_MOST = 8  # processes
_BYTES = 300_000_000  # of each, for its libraries and a figure

_call: Callable[[int], None] | None = None


def call_all(function: "partial[None]", count: int) -> None:
    """Call ``function(number)`` for each number below `count`, in any order.

    Args:
        function: can be pickled; it is sent to each process once.

    Raises:
        whatever a call raises; those that have not begun are left out then.
    """
    if count < FEW:
        for number in range(count):
            function(number)
        return
    processes = max(1, min(cores(), count // _EACH, _MOST, available_bytes() // _BYTES))
    # spawned, not forked: this process may have threads of the model's libraries
    with ProcessPoolExecutor(processes, get_context("spawn"), _remember, (function,)) as pool:
        with interrupts_wait():
            calls = [pool.submit(_call_remembered, number) for number in range(count)]
        try:
            for call in calls:
                call.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _remember(function: Callable[[int], None]) -> None:
    global _call
    _call = function


def _call_remembered(number: int) -> None:
    assert _call is not None
    _call(number)
