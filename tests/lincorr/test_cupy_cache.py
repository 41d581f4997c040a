"""A home that cannot be written keeps nobody from importing the package."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_without_a_home_cupy_gets_a_folder_of_its_own_that_is_deleted() -> None:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "CUPY_CACHE_DIR"} | {"HOME": "/dev/null/none"}
    command = [sys.executable, "-c", "import os, lincorr; print(os.environ['CUPY_CACHE_DIR'])"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(done.stdout.strip()).exists()
