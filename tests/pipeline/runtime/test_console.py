"""What is told of a run under way where there is no terminal."""

import io
import re
import time
from collections.abc import Callable
from functools import partial

import pytest
from rich.console import Console

from pipeline.runtime import console
from pipeline.runtime.console import Narrator
from pipeline.runtime.tally import Tally


def narrator(*, terminal: bool) -> tuple[Narrator, io.StringIO]:
    """A narrator, and what it has written."""
    made, written = Narrator(), io.StringIO()
    made.console = Console(file=written, force_terminal=terminal, width=200)
    return made, written


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["progress", "lines"])
def test_a_log_gets_a_line_now_and_then_with_what_is_done_and_left(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_EVERY", 0.05)
    told, written = narrator(terminal=False)
    with getattr(told, kind)("Extracting", 120_000, "prompts") as advance:
        until(lambda: written.getvalue())
        advance(30_000)
        until(lambda: "30,000" in written.getvalue())
    shown = written.getvalue()
    time.sleep(0.15)
    lines = written.getvalue().splitlines()
    assert len(lines) <= len(shown.splitlines()) + 1  # none after the end, but for one that was on its way
    assert re.search(r"^Extracting: 0 of 120,000 prompts in \d s$", lines[0])
    assert re.search(
        r"^Extracting: 30,000 of 120,000 prompts \(25%\), [0-9,]+ prompts/s, \d+ s left$", lines[-1]
    )


def test_what_is_fast_or_shown_as_a_bar_gets_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    told, written = narrator(terminal=False)
    with told.progress("Extracting", 10, "prompts") as advance:
        advance(10)
    assert written.getvalue() == ""
    monkeypatch.setattr(console, "_EVERY", 0.01)
    told, written = narrator(terminal=True)
    with told.lines("Fitting", 10, "relations"):
        time.sleep(0.05)
    assert written.getvalue() == ""


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 7, 30, "0 of 7 relations in 30 s"),
        (1, 7, 600, "1 of 7 relations (14%), 0.1 relations/min, 1 h 0 min left"),
        (5000, 100000, 100, "5,000 of 100,000 relations (5%), 50 relations/s, 32 min left"),
    ],
)
def test_rates_and_times_are_in_units_that_can_be_read(
    done: int, total: int, seconds: float, line: str
) -> None:
    times = iter([0, *[seconds] * 9])
    tally = Tally(total, lambda: next(times))
    tally(done)
    assert console._how_far(tally, "relations") == line


def test_a_bar_moves_within_a_shard_and_shows_rate_and_time_left() -> None:
    told, written = narrator(terminal=True)
    with told.progress("Extracting", 1000, "prompts") as tally:
        for done in (0, 60, 120):
            time.sleep(0.1)
            tally.under_way({"shard-0": done})
            until(partial(shows, written, done))
        assert re.search(r"120/1000\S* [0-9,]+ prompts/s .* \d+ s left", written.getvalue())
        tally.under_way({})  # its worker is gone
    assert shows(written, 0)


def shows(written: io.StringIO, done: int) -> bool:
    """Whether the bar last drawn has so many of 1000 steps."""
    drawn: list[str] = re.findall(r"(\d+)/1000", written.getvalue())
    return drawn[-1:] == [str(done)]
