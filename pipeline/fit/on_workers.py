"""Fits in memory by workers: a task has relations of one source prompt, whose maps it stores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lincorr.store.store import LogitStore
from pipeline.config import ClusterSettings
from pipeline.fit.by_source import dealt_out
from pipeline.fit.inputs import FitInputs
from pipeline.fit.relation import fit_relation, is_fitted
from pipeline.fit.sharing import Apart, apart, in_memory
from pipeline.fit.sources import SourceCache, device_for
from pipeline.plan.costs import fit_cost
from pipeline.plan.memory import fit_host_bytes
from pipeline.runtime.executor import Executor, Serial, Stage, ignore
from pipeline.runtime.tally import Tally


@dataclass(frozen=True, slots=True)
class RelationsTask:
    """Relations of one source prompt, to be fitted or evaluated in memory.

    Attributes:
        store: URL.
        turn: in which they are written (`lincorr.store.turn`).
    """

    store: str
    turn: str
    relations: tuple[FitInputs, ...]

    @property
    def key(self) -> str:
        """Their first one's name."""
        return self.relations[0].relation.name

    def opened(self) -> tuple[LogitStore, SourceCache]:
        """Open the store, to write in this turn, and a cache of its sources where this process computes."""
        store = LogitStore.open(self.store, write=True)
        store.maps.turn.join(self.turn)
        return store, SourceCache(store, device_for(self.relations))


Task = TypeVar("Task", bound=RelationsTask)


def fits_apart(missing: Sequence[FitInputs], cluster: ClusterSettings) -> Apart:
    """Return the relations that workers fit: in memory, of those whose maps the store lacks (see `apart`)."""
    return apart([one for one in missing if in_memory(one)], fit_cost, fit_host_bytes, cluster)


def fit_on_workers(
    executor: Executor,
    store: LogitStore,
    relations: Sequence[FitInputs],
    tally: Tally,
) -> list[str]:
    """Fit and store every missing map of relations; return "relation/fit" of the new ones.

    Args:
        relations: whose fits are all done in memory.
        tally: of relations.

    Raises:
        LincorrError: a task failed; what was done is stored.
    """
    # a task that is tried again finds what it has stored before its worker died, and fits only the rest
    missing = [
        f"{one.relation.name}/{fit}"
        for one in relations
        for basis in one.choices
        if not is_fitted(store, one, basis)
        for fit in one.fit_names(basis)
    ]
    turn = store.maps.turn.take()
    tasks = [RelationsTask(store.url, turn, some) for some in dealt_out(relations, executor.workers)]
    run_tasks(executor, "fit", fit_task, tasks, tally)
    return missing


def run_tasks(
    executor: Executor,
    name: str,
    function: Callable[[Task], str],
    tasks: Sequence[Task],
    tally: Tally,
) -> None:
    """Run a stage of relations, whose function returns a task's key."""
    sizes = {task.key: len(task.relations) for task in tasks}
    on_device = any(one.device != "cpu" for task in tasks for one in task.relations)
    stage = Stage(name, function, tasks, on_device=on_device, under_way=tally.under_way)
    executor.run(stage, lambda key: tally(sizes[key], key))


def fit_task(task: RelationsTask, count: Callable[[int], None] = ignore) -> str:
    """Fit a task's relations; return its key."""
    store, shared = task.opened()
    for inputs in task.relations:
        fit_relation(store, inputs, Serial, shared)
        count(1)
    return task.key
