"""Schedulers and workers that others started: whether they can do our work, and what would end it.

What is asked runs there by value, since lincorr may be missing there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

from lincorr.errors import BadInput
from pipeline.runtime.clusters.worker_settings import BYTES_BESIDE_MODEL, WORKER_TTL
from pipeline.runtime.versions import difference, versions


class Asked(Protocol):
    """What of a Dask client runs functions on a scheduler and its workers."""

    def run(self, function: Callable[[], Any], *, on_error: Literal["ignore"]) -> dict[str, Any]:
        """Run a function on every worker: address -> result; those that fail are left out."""
        ...

    def run_on_scheduler(self, function: Callable[..., Any]) -> Any:
        """Run a function on the scheduler."""
        ...

    def scheduler_info(self, *, n_workers: int) -> Mapping[str, Any]:
        """Return what the scheduler knows of so many of its workers; -1: of all."""
        ...


def refuse_strangers(client: Asked) -> None:
    """Refuse workers that cannot do our work, or would do it with other versions.

    Raises:
        BadInput: there are some; they are named.
    """
    for answer, workers in _by_answer(client.run(_probe(), on_error="ignore")):
        who = f"worker{'s' * (len(workers) > 1)} {_some(workers)}"
        if isinstance(answer, str):
            raise BadInput(f"{who} cannot import {answer!r}: install the same lincorr there")
        if problem := difference(answer, versions()):
            raise BadInput(f"{who}: {problem}; install the versions of the run there")


def refuse_strange_scheduler(client: Asked) -> None:
    """Refuse a scheduler that could not read our tasks.

    Raises:
        BadInput: it has no lincorr.
    """
    answer = None
    with suppress(ValueError):  # it runs no functions of clients
        answer = client.run_on_scheduler(_probe())
    if isinstance(answer, str):
        raise BadInput(
            f"cluster.address: the scheduler cannot import {answer!r}, and so not read tasks: install the "
            "same lincorr there"
        )


def deadly_settings(client: Asked, model_bytes: int) -> Iterator[str]:
    """Yield a line for every setting of a scheduler and its workers that may end a worker in mid-task.

    Args:
        model_bytes: of one copy of the model's weights.
    """
    ttl = None
    with suppress(ValueError):
        ttl = client.run_on_scheduler(_worker_ttl())
    if ttl and ttl < WORKER_TTL:
        yield (
            f"Warning: this scheduler gives up a worker that is silent for {ttl:g} s, as one that computes "
            f"may be; start it with distributed.scheduler.worker-ttl: {WORKER_TTL // 60} minutes"
        )
    needed = model_bytes + BYTES_BESIDE_MODEL
    workers = client.scheduler_info(n_workers=-1)["workers"]
    low = {name: worker["memory_limit"] for name, worker in workers.items() if worker["memory_limit"]}
    low = {name: limit for name, limit in low.items() if limit < needed}
    if low:
        yield (
            f"Warning: Dask ends {_some(list(low))} beyond {min(low.values()) / 1e9:.1f} GB, and the model "
            f"with one shard takes about {needed / 1e9:.1f} GB; start workers with --memory-limit 0"
        )


def _probe() -> Callable[[], Any]:
    """Return a function that returns its process's versions, or the name of what it cannot import."""

    def probe() -> Any:
        try:
            from pipeline.runtime import versions as module
        except ImportError as problem:
            return str(problem.name)
        return module.versions()

    return probe


def _worker_ttl() -> Callable[..., float | None]:
    def worker_ttl(dask_scheduler: Any) -> float | None:
        ttl: float | None = dask_scheduler.worker_ttl
        return ttl

    return worker_ttl


def _by_answer(answers: Mapping[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    """Yield each answer and the workers that gave it."""
    found: dict[str, tuple[Any, list[str]]] = {}
    for worker, answer in answers.items():
        found.setdefault(repr(answer), (answer, []))[1].append(worker)
    yield from found.values()


def _some(names: list[str]) -> str:
    """Name up to three."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(sorted(names)[:3]) + more
