"""Messages and progress on standard error while a run is under way: a bar, or without a terminal lines."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from lincorr.redact import redacted
from lincorr.visible import visible
from pipeline.runtime.tally import Tally

_EVERY = 30.0  # seconds between two lines of a log


class Narrator:
    """Prints messages and progress to standard error, so that standard output stays clean."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._told: set[str] = set()

    def tell(self, message: str) -> None:
        """Print one line."""
        self.console.print(visible(redacted(message)), markup=False, soft_wrap=True)

    def tell_once(self, message: str) -> None:
        """Print one line, unless it was printed so before."""
        if message not in self._told:
            self._told.add(message)
            self.tell(message)

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Tally]:
        """Show a bar with rate and remaining time; yield the tally that it shows.

        Without a terminal, lines say the same (see `lines`).
        """
        if not self.console.is_terminal:
            with self.lines(what, total, unit) as tally:
                yield tally
            return
        tally = Tally(total)
        with _Bar(what, unit, tally, self.console):
            yield tally

    @contextmanager
    def lines(self, what: str, total: int, unit: str) -> Iterator[Tally]:
        """Print a line about every 30 seconds, if there is no terminal; yield the tally that it tells.

        A log shows by it that a run is alive, and how far it is.
        """
        tally, ended = Tally(total), threading.Event()

        def write() -> None:
            while not ended.wait(_EVERY):
                self.tell(f"{what}: {_how_far(tally, unit)}")

        thread = threading.Thread(target=write, name="log", daemon=True)
        if not self.console.is_terminal:
            thread.start()
        try:
            yield tally
        finally:
            ended.set()


class _Bar(Progress):
    """Shows a tally as it is at each refresh."""

    def __init__(self, what: str, unit: str, tally: Tally, console: Console) -> None:
        self._tally, self._unit = tally, unit
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            refresh_per_second=2,
        )
        self.add_task(what, total=tally.total, rate="", left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Draw the bar."""
        rate, left = _speed(self._tally, self._unit), _left(self._tally)
        for task in self.task_ids:  # none yet while the bar is made
            self.update(task, completed=self._tally.done, rate=rate, left=left)
        yield from super().get_renderables()


def _how_far(tally: Tally, unit: str) -> str:
    """Say what is done, and if anything is, at what rate and when all will be."""
    done, total = tally.done, tally.total
    if not done:
        return f"0 of {total:,} {unit} in {_duration(tally.seconds)}"
    known = [f"{done:,} of {total:,} {unit} ({done / total:.0%})", _speed(tally, unit), _left(tally)]
    return ", ".join(part for part in known if part)


def _speed(tally: Tally, unit: str) -> str:
    if not (rate := tally.rate):
        return ""
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{60 * rate:,.3g} {unit}/min"


def _left(tally: Tally) -> str:
    left = tally.seconds_left
    return "" if left is None else f"{_duration(left)} left"


def _duration(seconds: float) -> str:
    """Write a time as 40 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
