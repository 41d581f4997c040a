"""Steps of tasks that are under way on Dask workers: each counts its own, and heartbeats carry the numbers.

Heartbeats are sent anyway, less often the more workers there are, and the scheduler keeps the last one of
each worker: no step sends anything, nothing piles up, and what a lost worker had done is forgotten with it.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import get_worker

_METRIC = "lincorr-steps"
_KEPT = 8  # finished tasks that a worker still tells of, since they count until their results have arrived

_told: dict[Any, int] = {}  # of this process: Dask's key of a task -> steps that it has done
_finished: deque[Any] = deque()  # those that are kept, the oldest first


@contextmanager
def counted() -> Iterator[Callable[[int], None]]:
    """Yield the function by which this Dask task counts its steps; one that fails has done none."""
    worker = get_worker()
    key = worker.get_current_task()
    worker.loop.add_callback(worker.metrics.setdefault, _METRIC, _metric)  # where heartbeats read them
    if key in _finished:  # its result was lost
        _finished.remove(key)
    done = 0

    def count(steps: int) -> None:
        nonlocal done
        done += steps
        _told[key] = done

    try:
        yield count
    except BaseException:
        _told.pop(key, None)
        raise
    _finished.append(key)
    while len(_finished) > _KEPT:
        _told.pop(_finished.popleft(), None)


def _metric(worker: object) -> dict[Any, int]:
    """Return what a worker's heartbeat carries."""
    return dict(_told)


def steps_told(workers: Iterable[Mapping[str, Any]], ours: Container[Any]) -> dict[str, int]:
    """Return the steps of tasks under way: task's own key -> steps.

    Args:
        workers: what the scheduler says of each.
        ours: Dask's keys, (stage, task's own key, ...), of tasks that are not finished.
    """
    found: dict[str, int] = {}
    for worker in workers:
        for key, steps in worker["metrics"].get(_METRIC, {}).items():
            if key in ours:
                found[key[1]] = max(steps, found.get(key[1], 0))  # two tell where one has just lost it
    return found
