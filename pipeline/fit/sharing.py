"""Which relations are fitted or evaluated in memory by workers, and not in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lincorr.errors import BadInput
from lincorr.solvers.choose import Choice
from pipeline.config import ClusterSettings
from pipeline.fit.by_source import by_source
from pipeline.fit.inputs import FitInputs
from pipeline.plan.costs import FIT_LIBRARY_BYTES, WORTH_WORKERS_SECONDS, Cost, FitSizes
from pipeline.plan.estimate import host_seconds
from pipeline.plan.plan import measured_flops
from pipeline.runtime.machine import available_bytes

# A process has all cores of its machine, and uses them: two threads are 1.8 times as fast as one (MEASURED).
_ONE_PROCESS = ("serial", "local")


@dataclass(frozen=True, slots=True)
class Apart:
    """Relations for workers: none where it is not worth starting them.

    Attributes:
        relations: each may hold a worker's share of memory.
        worker_bytes: that a worker holds at most.
    """

    relations: tuple[FitInputs, ...] = ()
    worker_bytes: int = 0

    def others(self, relations: Iterable[FitInputs]) -> list[FitInputs]:
        """Return those of some relations that are not among these."""
        names = {inputs.relation.name for inputs in self.relations}
        return [inputs for inputs in relations if inputs.relation.name not in names]


def apart(
    relations: Sequence[FitInputs],
    cost: Callable[[FitSizes, Choice], Cost],
    held: Callable[[FitSizes, Choice], int],
    cluster: ClusterSettings,
) -> Apart:
    """Return the relations for workers, all or none: of several sources, if they take long in this process.

    Workers are on other machines, or have GPUs; those of kind local would share the cores of this process.
    Workers of this machine have shares of its memory, and nothing that is fitted out of core: which of its
    controls are scored depends on the memory.

    Args:
        cost, held: of one basis of a relation: what it takes, and its bytes of memory.
    """
    if cluster.kind == "gpus":
        relations = [one for one in relations if in_memory(one)]
    if cluster.kind in _ONE_PROCESS or len(by_source(relations)) < 2:
        return Apart()
    seconds = host_seconds(sum((cost(*fit) for fit in _fits(relations)), Cost()), measured_flops() / 2)
    if seconds < WORTH_WORKERS_SECONDS:
        return Apart()
    worker_bytes = max(held(*fit) for fit in _fits(relations))
    if cluster.kind != "gpus":  # on machines of their own
        return Apart(tuple(relations), worker_bytes)
    workers = _workers_here(cluster)
    if workers < 2 or workers * (FIT_LIBRARY_BYTES + worker_bytes) > available_bytes():
        return Apart()
    shares = (replace(one, memory_bytes=one.memory_bytes // workers) for one in relations)
    return Apart(tuple(shares), worker_bytes)


def _workers_here(cluster: ClusterSettings) -> int:
    """Return how many workers this machine's GPUs have, or 0: without a GPU this process does it all."""
    from pipeline.runtime.clusters.gpus import count_gpus  # Dask

    try:
        return count_gpus(cluster)
    except BadInput:
        return 0


def in_memory(inputs: FitInputs) -> bool:
    """Whether all fits of a relation are done in memory."""
    return not any(choice.out_of_core for choice in inputs.choices.values())


def _fits(relations: Iterable[FitInputs]) -> Iterator[tuple[FitSizes, Choice]]:
    for inputs in relations:
        yield from ((sizes, inputs.choices[basis]) for basis, sizes in inputs.sizes.items())
