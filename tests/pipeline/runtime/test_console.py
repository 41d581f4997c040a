"""What is told of a run under way where there is no terminal."""

import io
import time

import pytest
from rich.console import Console

from pipeline.runtime import console
from pipeline.runtime.console import Narrator


def narrator(*, terminal: bool) -> tuple[Narrator, io.StringIO]:
    """A narrator, and what it has written."""
    made, written = Narrator(), io.StringIO()
    made.console = Console(file=written, force_terminal=terminal, width=200)
    return made, written


@pytest.mark.parametrize("kind", ["progress", "lines"])
def test_a_log_gets_a_line_now_and_then_with_what_is_done_and_left(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_EVERY", 0.05)
    told, written = narrator(terminal=False)
    with getattr(told, kind)("Extracting", 1200, "prompts") as advance:
        time.sleep(0.12)
        advance(300)
        time.sleep(0.1)
    time.sleep(0.1)
    lines = written.getvalue().splitlines()
    assert 3 <= len(lines) <= 5  # and none after the end
    assert lines[0] == "Extracting: 0 of 1,200 prompts in 0 s"
    assert lines[-1].startswith("Extracting: 300 of 1,200 prompts (25%), ")
    assert lines[-1].endswith(" prompts/s, 1 s left")


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
    assert console._how_far(done, total, "relations", seconds) == line
