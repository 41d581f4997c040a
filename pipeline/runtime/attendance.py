"""Workers that are all gone, or have not come yet: how many there were, what is waited for, and how long."""

import time
from collections.abc import Callable
from functools import partial

from lincorr.errors import LincorrError
from pipeline.config import ClusterSettings

_GRACE = 5.0  # seconds in which a worker that ended may start again before a line is said
_REPEAT = 60.0  # seconds between two lines


class Attendance:
    """Is told how many workers there are; says where there are none, and gives up after `cluster.wait`.

    Attributes:
        tell: called with each line.
        there: workers at the last look.
        awaited: says what brings workers; a cluster that knows why none comes says so.
        gone: says what helps, or is known, where the scheduler is gone.
        hopeless: why none will come, in words, if that is known; then the run ends without a wait.
    """

    def __init__(self, settings: ClusterSettings, tell: Callable[[str], None]) -> None:
        """Begin without workers."""
        self.tell = tell
        self.there = 0
        self.awaited: Callable[[], str] = partial(_awaited, settings)
        self.gone: Callable[[], str] = partial(str, "start it and its workers again (cluster.address)")
        self.hopeless: str | None = None
        self._patience = settings.wait * 60
        self._had = 0
        self._gone = time.monotonic()
        self._next_line = self._gone + _REPEAT

    def begin(self) -> None:
        """Say that the first worker is waited for."""
        self.tell(f"Waiting for the first worker: {self.awaited()}")

    def note(self, there: int, what: str = "worker") -> None:
        """Take down how many workers there are.

        Args:
            what: which of them count, in the singular.

        Raises:
            LincorrError: there has been none for too long, or none will come.
        """
        now = time.monotonic()
        if there:
            self._had, self.there = max(there, self.there), there
            return
        if self.hopeless:
            raise LincorrError(f"{self.hopeless}. Finished work is stored: rerun to resume")
        if self.there:
            self.there, self._gone, self._next_line = 0, now, now + _GRACE
        absent = now - self._gone
        if absent >= self._patience:
            raise LincorrError(
                f"cluster.wait: {self._missing(what)} for {_duration(absent)} ({self.awaited()}). Finished "
                "work is stored: rerun to resume"
            )
        if now >= self._next_line:
            self._next_line = now + _REPEAT
            self.tell(
                f"{self._missing(what).capitalize()} for {_duration(absent)}; waiting up to "
                f"{_duration(self._patience)} for one (cluster.wait): {self.awaited()}"
            )

    def _missing(self, what: str) -> str:
        if not self._had:
            return f"no {what} has come"
        return f"none of {self._had} {what}s is left" if self._had > 1 else f"the only {what} is gone"


def _awaited(settings: ClusterSettings) -> str:
    """Say what brings workers."""
    return {
        "serial": "this process works",
        "local": "Dask starts another process",
        "gpus": "Dask starts another process",
        "address": f"`dask worker {settings.address}` starts one",
        "ssh": f"on {', '.join(settings.hosts)} Dask starts another process, but a lost machine stays lost",
        "kubernetes": "Kubernetes starts its pods",
        "slurm": "SLURM starts its jobs; `squeue --me` shows them",
    }[settings.kind]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.3g} min"
