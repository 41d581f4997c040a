"""Messages and progress bars on standard error while a run is under way."""

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


class Narrator:
    """Prints messages and progress to standard error, so that standard output stays clean."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._told: set[str] = set()

    def tell(self, message: str) -> None:
        """Print one line."""
        self.console.print(visible(redacted(message)), markup=False)

    def tell_once(self, message: str) -> None:
        """Print one line, unless it was printed so before."""
        if message not in self._told:
            self._told.add(message)
            self.tell(message)

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Show a bar with rate and remaining time; yield the function that advances it."""
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
