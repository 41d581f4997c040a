"""How long a run takes to begin: from the command until all workers make forward passes of its own work."""

from dataclasses import dataclass
from typing import Literal

from pipeline.config import ClusterSettings
from pipeline.plan.costs import CHECK_TOKENS, HASH_RATE, SPAWN_SECONDS, START_SECONDS, TRIAL_SECONDS
from pipeline.plan.workload import Workload
from pipeline.runtime.warm import can_fork

Workers = Literal["serial", "forked", "spawned"]


@dataclass(frozen=True, slots=True)
class Start:
    """How a run begins.

    Attributes:
        workers: serial: this process; forked: from one that imports and loads while the run is prepared;
            spawned: each imports and loads, when it has its first task.
        several: whether there are several.
        is_new: whether there is no store yet, for which one worker checks the model first.
    """

    workers: Workers
    several: bool
    is_new: bool

    def seconds(
        self, work: Workload, flops_per_second: float, *, reading: float, copying: float = 0.0
    ) -> float:
        """Return how long it takes.

        Args:
            flops_per_second: of the forward passes that check the model.
            reading: seconds to read the model's files, once, and
            copying: for a worker's weights to get from there to its device.
        """
        hashing = work.file_bytes / HASH_RATE
        alone = hashing + copying + (SPAWN_SECONDS if self.workers == "spawned" else 0.0)
        seconds = START_SECONDS + reading + hashing  # once to know the model, which every worker's must be
        seconds += alone if self.workers != "forked" else 0.0
        if self.is_new:
            seconds += 2.0 * work.sizes.multiplied * CHECK_TOKENS / flops_per_second
            seconds += TRIAL_SECONDS if work.tries_batches else 0.0
            seconds += alone if self.workers == "spawned" and self.several else 0.0
        return seconds


def start_here(cluster: ClusterSettings, device: str, *, is_new: bool, is_remote: bool) -> Start:
    """Return how a run of this machine or its cluster begins.

    Args:
        device: that the model is to run on, as it is set.
        is_remote: whether the store is in a bucket.
    """
    if cluster.kind == "serial":
        return Start("serial", several=False, is_new=is_new)
    is_forked = is_new and not is_remote and can_fork(cluster, device)
    return Start("forked" if is_forked else "spawned", several=cluster.workers != 1, is_new=is_new)
