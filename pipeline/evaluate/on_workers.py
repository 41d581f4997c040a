"""Evaluation by workers: a task has relations of one source prompt, whose scores it stores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lincorr.store.store import LogitStore
from pipeline.config import ClusterSettings
from pipeline.evaluate.basis import Others
from pipeline.evaluate.scores import evaluate_relation
from pipeline.fit.by_source import dealt_out
from pipeline.fit.inputs import FitInputs
from pipeline.fit.on_workers import RelationsTask, run_tasks
from pipeline.fit.sharing import Apart, apart
from pipeline.plan.costs import evaluation_cost
from pipeline.plan.memory import evaluation_host_bytes
from pipeline.runtime.executor import Executor, ignore
from pipeline.runtime.tally import Tally


@dataclass(frozen=True, slots=True)
class EvaluationTask(RelationsTask):
    """Relations of one source prompt, to be evaluated.

    Attributes:
        others: what serves as controls of each.
        n_sources: well-known sources to read out.
    """

    others: tuple[Others, ...]
    n_sources: int


def evaluations_apart(missing: Sequence[FitInputs], cluster: ClusterSettings) -> Apart:
    """Return the relations that workers evaluate, of those whose scores the store lacks (see `apart`)."""
    return apart(missing, evaluation_cost, evaluation_host_bytes, cluster)


def evaluate_on_workers(
    executor: Executor,
    store: LogitStore,
    relations: Sequence[FitInputs],
    others: Mapping[str, Others],
    n_sources: int,
    tally: Tally,
) -> None:
    """Evaluate and store the scores of relations, as `evaluate_relation` does.

    Args:
        others: of each relation, by its name.
        tally: of relations.

    Raises:
        LincorrError: a task failed; what was done is stored.
    """
    turn = store.maps.turn.take()
    tasks = [
        EvaluationTask(store.url, turn, some, tuple(others[one.relation.name] for one in some), n_sources)
        for some in dealt_out(relations, executor.workers)
    ]
    run_tasks(executor, "evaluate", evaluate_task, tasks, tally)


def evaluate_task(task: EvaluationTask, count: Callable[[int], None] = ignore) -> str:
    """Evaluate a task's relations; return its key."""
    store, shared = task.opened()
    for inputs, others in zip(task.relations, task.others, strict=True):
        evaluate_relation(store, inputs, others, task.n_sources, shared)
        count(1)
    return task.key
