"""One call of a stage's function on a Dask worker."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from distributed import get_worker

from lincorr.errors import LincorrError
from pipeline.runtime.deaths import FAILED
from pipeline.runtime.device import compute, no_memory
from pipeline.runtime.executor import this_worker
from pipeline.runtime.steps import counted
from pipeline.runtime.versions import difference, versions

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Returned in place of raising a LincorrError, which Dask would retry."""

    problem: LincorrError


def attempt(
    function: Callable[..., Result], task: object, *, overlapping: bool, counts: bool, ours: Mapping[str, str]
) -> Result | Refusal:
    """Run a task in a worker that has the run's versions.

    Args:
        overlapping: whether the function takes turns at the device itself.
        counts: whether it takes the function that counts its steps.
        ours: the versions.
    """
    if other := difference(versions(), ours):
        return Refusal(
            LincorrError(
                f"worker {this_worker()}: {other}; install the versions of the run there. "
                "Finished work is stored: rerun to resume"
            )
        )
    try:
        with counted() if counts else nullcontext() as count:
            arguments = (task, count) if counts else (task,)
            return function(*arguments) if overlapping else compute(function, *arguments)
    except LincorrError as problem:
        return Refusal(problem)
    except MemoryError as problem:  # CuPy's is one as well
        return Refusal(no_memory(problem))
    except Exception:
        get_worker().log_event("all", FAILED)  # it is tried again
        raise
