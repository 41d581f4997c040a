"""A model that a test may change."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def model_folder(toy_model: Path, tmp_path: Path) -> Path:
    """A copy of the toy model that a test may change."""
    return Path(shutil.copytree(toy_model, tmp_path / "model"))
