"""A stage is a function, a name and a list of tasks; an executor calls the function on each.

`Serial` is the definition. Its Dask twin in `clusters.py` must give the same answer.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a writing task returns: numbers, never arrays.

    Attributes:
        key: the task's own name.
        worker: host and process that ran it.
        rows: subjects computed (forward passes a template).
        bytes_written: to the store.
        began, ended: seconds since the epoch, on the worker's clock; loading the model is not counted.
        compute_seconds: of that, on the device.
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


def this_worker() -> str:
    """Name this host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def waiting_share(receipts: Sequence[Receipt]) -> float:
    """Return which part of the time between a worker's first and last task its device did not compute."""
    spans: dict[str, tuple[float, float]] = {}
    for receipt in receipts:
        first, last = spans.get(receipt.worker, (receipt.began, receipt.ended))
        spans[receipt.worker] = (min(first, receipt.began), max(last, receipt.ended))
    total = sum(last - first for first, last in spans.values())
    return max(0.0, 1 - sum(receipt.compute_seconds for receipt in receipts) / total) if total else 0.0


@dataclass(frozen=True, slots=True)
class Stage(Generic[Task, Result]):
    """Independent tasks: `function` is called on each, anywhere, in any order, and again if a worker dies.

    Attributes:
        name: shown while it runs.
        function: of one task; writes what is large itself and returns what is small.
        tasks: small, picklable; `str(task.key)` names one.
        overlapping: whether a worker may have two under way: the function itself takes turns at the device.
        on_device: whether it runs the model: only on workers with a GPU, where there are any.
    """

    name: str
    function: Callable[[Task], Result]
    tasks: Sequence[Task]
    overlapping: bool = False
    on_device: bool = False


class Executor(Protocol):
    """Runs stages somewhere."""

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ...) -> list[Result]:
        """Call the stage's function on every task; return results in the order of the tasks."""
        ...


def ignore(result: object) -> None:
    """Do nothing with a result."""


class Serial:
    """Everything in this process, one task after the other."""

    def run(self, stage: Stage[Task, Result], on_result: Callable[[Result], None] = ignore) -> list[Result]:
        """Call the stage's function on every task, in order."""
        results = []
        for task in stage.tasks:
            results.append(stage.function(task))
            on_result(results[-1])
        return results
