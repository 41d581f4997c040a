"""One line for workers that die, and one for tasks that ran again: Dask does so without a word."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol


class Events(Protocol):
    """What of a Dask client tells of events."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, Any]], None]) -> None:
        """Have `handler` called with (time, message) for every event of a topic."""
        ...

    def unsubscribe_topic(self, topic: str) -> None:
        """End that."""
        ...


FAILED = {"action": "lincorr-task-failed"}  # an event that a worker logs for all


@contextmanager
def deaths_told(client: Events, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell of workers that end unasked while the body runs: of the first, second, fourth, and so on.

    In the end, tell how many tasks were run again, since their worker died or they failed.
    """
    died, repeated, over = 0, 0, False

    def hear(event: tuple[float, Any]) -> None:
        nonlocal died, repeated
        message = event[1]
        if over or not isinstance(message, Mapping):
            return
        repeated += message.get("action") == FAILED["action"]
        if message.get("action") != "remove-worker" or message.get("expected", True):
            return
        died += 1
        repeated += len(message.get("processing-tasks", ()))
        if died & (died - 1) == 0:
            tell(
                f"{died} worker{'s' * (died > 1)} died, perhaps killed for memory; the tasks run again. Set "
                "cluster.workers lower if this goes on, or fit.memory if it is a fit"
            )

    client.subscribe_topic("all", hear)
    try:
        yield
    finally:
        over = True  # workers are stopped now
        if repeated:
            tell(f"Tasks that were run again, since they failed or their worker died: {repeated:,}")
        with suppress(Exception):  # the scheduler may be gone; one that lives would write to a closed client
            client.unsubscribe_topic("all")
