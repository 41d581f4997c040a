"""A stage is a function, a name and a list of tasks; an executor calls the function on each.

`Serial` is the definition. Its Dask twin in `dask_executor.py` must give the same answer.
"""

import heapq
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AT_ONCE = 2  # of a worker: one computes, the other prepares or writes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a writing task returns: numbers, never arrays.

    Attributes:
        key: the task's own name.
        worker: host and process that ran it.
        rows: subjects computed (forward passes a template).
        bytes_written: to the store.
        began, ended: seconds since the epoch, on the worker's clock; loading the model is not counted.
        compute_seconds: of that, on the device, and
        audit_seconds: of those, to ask a sample of prompts again.
        peak_bytes: the worker's resident memory at the end.
        cut_batches: passes more than planned, because the device could not hold a batch.
    """

    key: str
    worker: str
    rows: int
    bytes_written: int
    began: float
    ended: float
    compute_seconds: float
    peak_bytes: int
    cut_batches: int = 0
    audit_seconds: float = 0.0


def this_worker() -> str:
    """Name this host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def idle_share(receipts: Sequence[Receipt]) -> float:
    """Return the share of the time between a worker's first and last task that its device was idle."""
    spans: dict[str, tuple[float, float]] = {}
    for receipt in receipts:
        first, last = spans.get(receipt.worker, (receipt.began, receipt.ended))
        spans[receipt.worker] = (min(first, receipt.began), max(last, receipt.ended))
    total = sum(last - first for first, last in spans.values())
    return max(0.0, 1 - sum(receipt.compute_seconds for receipt in receipts) / total) if total else 0.0


@dataclass(frozen=True, slots=True)
class Stage(Generic[Task, Result]):
    """A function and its tasks: it is called on each, anywhere, in any order, and again if a worker dies.

    Attributes:
        name: shown while it runs.
        function: of one task; it writes large results itself and returns small ones.
        tasks: small and picklable; `str(task.key)` names one. They start in this order, as `needs` allows.
        needs: key of a task -> keys of the tasks that must be done before it starts; keys of no task of this
            stage count as done. Empty: tasks are independent.
        overlapping: whether a worker may run two at once; the function itself takes turns at the device.
        on_device: whether it uses a GPU, and so runs only on workers with a GPU where there are any.
        under_way: called now and then with the steps that unfinished tasks have done, by their keys; the
            function then takes a second argument, which it calls with the steps done since the last call.
    """

    name: str
    function: Callable[[Task], Result]
    tasks: Sequence[Task]
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)
    overlapping: bool = False
    on_device: bool = False
    under_way: Callable[[Mapping[str, int]], None] | None = None


class Waiting(Generic[Task]):
    """The tasks of a stage that have not started, in the order in which they may."""

    def __init__(self, stage: Stage[Task, Any]) -> None:
        self._tasks = stage.tasks
        positions = {str(getattr(task, "key", i)): i for i, task in enumerate(stage.tasks)}
        self._missing = [0] * len(stage.tasks)
        self._released: dict[int, list[int]] = {}
        for key, needed in stage.needs.items():
            for other in needed:
                if key in positions and other in positions:
                    self._missing[positions[key]] += 1
                    self._released.setdefault(positions[other], []).append(positions[key])
        self._ready = [
            i for i, missing in enumerate(self._missing) if not missing
        ]  # a heap, since it is sorted

    def take(self) -> tuple[int, Task] | None:
        """Return position and task of the first that may start, or None if all others must wait."""
        if not self._ready:
            return None
        position = heapq.heappop(self._ready)
        return position, self._tasks[position]

    def done(self, position: int) -> None:
        """Release the tasks that waited only for this one."""
        for other in self._released.get(position, ()):
            self._missing[other] -= 1
            if not self._missing[other]:
                heapq.heappush(self._ready, other)


class Executor(Protocol):
    """Runs stages somewhere.

    Attributes:
        workers: how many tasks it runs at once, as far as it knows.
    """

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        ...

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ...) -> list[Result]:
        """Call the stage's function on every task; return results in the order of the tasks."""
        ...


def ignore(result: object) -> None:
    """Do nothing with a result."""


class Serial:
    """Everything in this process, one task after the other."""

    workers = 1

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Call the stage's function on every task, the first that may begin first."""
        waiting, results = Waiting(stage), {}
        while (taken := waiting.take()) is not None:
            place, task = taken
            results[place] = _called(stage, task)
            waiting.done(place)
            on_result(results[place])
        return [results[place] for place in range(len(stage.tasks))]


def _called(stage: Stage[Task, Result], task: Task) -> Result:
    """Call a stage's function, and tell of its steps at once."""
    if stage.under_way is None:
        return stage.function(task)
    function: Callable[..., Result] = stage.function
    done = 0

    def count(steps: int) -> None:
        nonlocal done
        done += steps
        tell({key: done})

    tell, key = stage.under_way, str(getattr(task, "key", ""))
    return function(task, count)
