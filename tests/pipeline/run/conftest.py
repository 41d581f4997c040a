"""Runs that several files read, made once."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.run.runner import Reference, Runner, runner
from tests.plots import blank_plots


@pytest.fixture
def run(tmp_path: Path, toy_model: Path, blank_plots: None) -> Runner:
    """Runs in an empty folder."""
    return runner(tmp_path, toy_model)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    """A whole run, only to be read."""
    run = runner(tmp_path_factory.mktemp("finished"), toy_model)
    run.document = run("run")
    return run


@pytest.fixture
def rerun(run: Runner, finished: Runner) -> Runner:
    """Runs in a folder where the same run is finished."""
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    run.document = finished.document
    return run


@pytest.fixture(scope="session")
def reference(toy_model: Path) -> Reference:
    return Reference(toy_model)


@pytest.fixture(scope="session")
def answers(finished: Runner, reference: Reference) -> dict[str, np.ndarray]:
    """Logits of the finished run's subjects, over the whole vocabulary."""
    names = {"city": " lives in the city of", "country": " lives in the country of"}
    return {name: reference.after(finished.subjects(), text) for name, text in names.items()}


@pytest.fixture(scope="session")
def ids(reference: Reference) -> dict[str, list[int]]:
    """Token ids of the answers."""
    words = {"city": CITIES, "country": COUNTRIES}
    return {name: [reference.column(word) for word in words[name]] for name in words}


@pytest.fixture(scope="session")
def logits_only(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    run = runner(tmp_path_factory.mktemp("logits-only"), toy_model)
    run.flags |= {"store-hidden": "false", "store-logits": "all"}
    with blank_plots():
        run.document = run("run")
    return run
