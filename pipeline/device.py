"""The one thread of a process that computes: others prepare and write meanwhile.

Libraries that compute with threads of their own (torch's OpenMP) keep a team for each thread that calls
them; with one caller there is one team, and one task at a time has the device and its memory.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")


def compute(function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    """Call a function on this process's compute thread, after those that wait already."""
    return _thread.submit(function, *args, **kwargs).result()
