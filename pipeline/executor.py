"""A stage is a function, a name and a list of tasks; an executor calls the function on each.

`Serial` is the definition. Its Dask twin in `clusters.py` must give the same answer.
"""

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
        rows: subjects computed (forward passes a template).
        bytes_written: to the store.
        seconds: wall time of the task.
        compute_seconds: of that, in forward passes.
        peak_bytes: the worker's resident memory at the end.
    """

    key: str
    rows: int
    bytes_written: int
    seconds: float
    compute_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Stage(Generic[Task, Result]):
    """Independent tasks: `function` is called on each, anywhere, in any order, and again if a worker dies.

    Attributes:
        name: shown while it runs.
        function: of one task; writes what is large itself and returns what is small.
        tasks: small, picklable; `str(task.key)` names one.
    """

    name: str
    function: Callable[[Task], Result]
    tasks: Sequence[Task]


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
