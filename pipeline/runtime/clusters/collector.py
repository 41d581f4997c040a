"""Garbage of a scheduler: Python looks for it after every 700 new objects, and a task makes dozens."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

_AFTER = 20_000  # new objects; with 64 workers, looking cost a scheduler a third of its time


class Scheduling(Protocol):
    """What of a Dask client runs functions on a scheduler."""

    def run_on_scheduler(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function on the scheduler."""
        ...


@contextmanager
def collected_seldom(client: Scheduling) -> Iterator[None]:
    """Have the scheduler's process look for garbage less often while the body runs, where it lets us."""
    before = None
    with suppress(ValueError):  # it runs no functions of clients
        before = client.run_on_scheduler(_set_threshold, _AFTER)
    try:
        yield
    finally:
        if before is not None:
            with suppress(Exception):  # the scheduler may be gone
                client.run_on_scheduler(_set_threshold, before)


def _set_threshold(new_objects: int) -> int:
    """Set after how many new objects Python looks for garbage; return what it was."""
    before, *others = gc.get_threshold()
    gc.set_threshold(new_objects, *others)
    return before
