"""Pages without the time that their plots take."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PLOTS = ("bipartite", "growth", "matrix", "operators", "path", "pearson", "spectrum", "weights")


def blank(patch: pytest.MonkeyPatch) -> None:
    """Leave every plot of this process empty; what is plotted is still computed."""
    for name in PLOTS:
        patch.setattr(f"pipeline.report.plots.{name}.to_png", lambda *_: b"\x89PNG\r\n\x1a\n")
        patch.setattr(f"pipeline.report.plots.{name}.to_svg", lambda *_: "<svg></svg>")


@contextmanager
def blank_plots() -> Iterator[None]:
    """The same for a while, for fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        yield
