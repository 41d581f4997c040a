"""One line for workers that die: Dask runs their tasks again without a word."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from pipeline.runtime.clusters.worker_settings import STRANGERS
from pipeline.runtime.machine import killed_for_memory
from pipeline.runtime.seldom import is_told

LESS_MEMORY = "set cluster.workers lower, or fit.memory if it is a fit"
_NANNY = "worker-restart-memory"  # the topic under which Dask says that it ends a worker at its limit


class Events(Protocol):
    """What of a Dask client tells of events."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, Any]], None]) -> None:
        """Have `handler` called with (time, message) for every event of a topic."""
        ...

    def unsubscribe_topic(self, topic: str) -> None:
        """End that."""
        ...


FAILED = {"action": "lincorr-task-failed"}  # an event that a worker logs for all


class Deaths:
    """Counts workers that end unasked, by cause.

    Attributes:
        for_memory: whether any was ended for memory, by Dask or by this machine's kernel.
        repeated: tasks that were run again, since their worker died or they failed.
        stranger: a worker that cannot import lincorr, and so will die, in words; None if there is none.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._counts: dict[str, int] = {}
        self._at_their_limit: set[str] = set()  # addresses of workers that Dask ends
        self._killed = killed_for_memory()
        self.for_memory = False
        self.repeated = 0
        self.stranger: str | None = None
        self.over = False

    def at_the_limit(self, event: tuple[float, Any]) -> None:
        """Hear that Dask ends a worker that holds more than its limit of memory."""
        if self.over or not isinstance(event[1], Mapping):
            return
        self._at_their_limit.add(str(event[1].get("worker")))
        self.for_memory = True
        self._count(
            "ended by Dask for memory",
            f"beyond its limit ({event[1].get('rss', 0) / 1e9:.1f} GB held); give it more (--memory-limit), "
            f"or {LESS_MEMORY}",
        )

    def strange(self, event: tuple[float, Any]) -> None:
        """Hear of a worker that cannot import lincorr."""
        if not self.over and isinstance(event[1], Mapping):
            self.stranger = f"worker {event[1].get('worker')} cannot import {event[1].get('missing')!r}"

    def gone(self, event: tuple[float, Any]) -> None:
        """Hear that a worker is gone or a task failed, among all other events."""
        message = event[1]
        if self.over or not isinstance(message, Mapping):
            return
        self.repeated += message.get("action") == FAILED["action"]
        if message.get("action") != "remove-worker":
            return
        silent = str(message.get("stimulus_id", "")).startswith("check-worker-ttl")
        if message.get("expected", True) and not silent:
            return
        self.repeated += len(message.get("processing-tasks", ()))
        if message.get("worker") in self._at_their_limit:
            self._at_their_limit.discard(str(message["worker"]))
            return
        killed, self._killed = killed_for_memory() > self._killed, killed_for_memory()
        if silent:
            self._count(
                "given up by the scheduler",
                "silent for longer than its distributed.scheduler.worker-ttl; start it with 30 minutes",
            )
        elif killed:
            self.for_memory = True
            self._count(
                "killed", f"out of memory perhaps, for which the kernel killed a process; {LESS_MEMORY}"
            )
        else:
            self._count("died", "killed, or its machine or connection was lost")

    def _count(self, how: str, why: str) -> None:
        """Tell of the first, second, fourth, and so on."""
        count = self._counts[how] = self._counts.get(how, 0) + 1
        if is_told(count):
            who = "1 worker was" if count == 1 else f"{count} workers were"
            who = who if how != "died" else f"{count} worker{'s' * (count > 1)}"
            self._tell(f"{who} {how}: {why}. The tasks run again")


@contextmanager
def deaths_told(client: Events, tell: Callable[[str], None]) -> Iterator[Deaths]:
    """Tell of workers that end unasked while the body runs; yield what is known of them."""
    deaths = Deaths(tell)
    topics = {"all": deaths.gone, _NANNY: deaths.at_the_limit, STRANGERS: deaths.strange}
    for topic, hear in topics.items():
        client.subscribe_topic(topic, hear)
    try:
        yield deaths
    finally:
        deaths.over = True  # workers are stopped now
        if deaths.repeated:
            tell(f"Tasks that were run again, since they failed or their worker died: {deaths.repeated:,}")
        for topic in topics:
            with suppress(Exception):  # the scheduler may be gone; one that lives would call a closed client
                client.unsubscribe_topic(topic)
