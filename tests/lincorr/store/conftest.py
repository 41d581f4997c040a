"""Where a test's store lies."""

from pathlib import Path

import pytest


@pytest.fixture
def url(tmp_path: Path) -> Path:
    return tmp_path / "run.zarr"
