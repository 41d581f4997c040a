"""Messages and progress on standard error while a run is under way: a bar, or without a terminal lines."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lincorr.redact import redacted
from lincorr.visible import visible

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
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show a bar with rate and remaining time; yield the function that advances it.

        Without a terminal, lines say the same (see `lines`).
        """
        if not self.console.is_terminal:
            with self.lines(what, total, unit) as advance:
                yield advance
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, refresh_per_second=2) as bar:
            task = bar.add_task(what, total=total, rate="")

            def advance(steps: int) -> None:
                bar.advance(task, steps)
                speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
                bar.update(task, rate=f"{speed:,.0f} {unit}/s" if speed else "")

            yield advance

    @contextmanager
    def lines(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Print a line about every 30 seconds, if there is no terminal; yield the function that counts.

        A log shows by it that a run is alive, and how far it is.
        """
        done, began, ended = 0, time.monotonic(), threading.Event()

        def count(steps: int) -> None:
            nonlocal done
            done += steps

        def write() -> None:
            while not ended.wait(_EVERY):
                self.tell(f"{what}: {_how_far(done, total, unit, time.monotonic() - began)}")

        thread = threading.Thread(target=write, name="log", daemon=True)
        if not self.console.is_terminal:
            thread.start()
        try:
            yield count
        finally:
            ended.set()


def _how_far(done: int, total: int, unit: str, seconds: float) -> str:
    """Say what is done, and if anything is, at what rate and when all will be."""
    if not done:
        return f"0 of {total:,} {unit} in {_duration(seconds)}"
    rate = done / seconds
    speed = f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{60 * rate:,.3g} {unit}/min"
    left = (total - done) / rate
    return f"{done:,} of {total:,} {unit} ({done / total:.0%}), {speed}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    """Write a time as 40 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
