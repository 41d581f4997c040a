"""A SLURM of the tests' own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm import queue, slurm, wait_until


@pytest.fixture(scope="module")
def controller() -> Iterator[Path]:
    with slurm() as folder:
        yield folder


@pytest.fixture
def home(controller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which jobs leave their logs; no job is left behind in the queue."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    wait_until(lambda: not queue(), f"jobs are left: {queue()}")
