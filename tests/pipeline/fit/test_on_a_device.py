"""Fits in memory, and all that is scored on them, on a device that is not the host: a GPU, and its like.

A study of the toy model touches all of it: four fits a relation, ridge paths, scores over all outputs,
controls, matrices and growth. The standard's strict array takes the place of a GPU's where there is none:
what slips back to the host, or to its default device, raises.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_strict
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from lincorr import arrays
from lincorr.arrays import has_gpu
from lincorr.scores.ranks import RankedTruth
from lincorr.testing import CITIES, toy_relation
from pipeline.cli.main import main
from pipeline.evaluate import fit_scores
from pipeline.fit import sources as decompositions
from pipeline.report import tables as exports
from pipeline.runtime import device as device_module
from pipeline.runtime.device import own_device
from pipeline.study import study
from tests.commands import json_of

CATALOGUE: dict[str, Any] = {
    "templates": {
        "home": "{} lives in the city of",
        "land": "{} lives in the country of",
        "dish": "{} eats the bread of",
        "taste": "{} likes the taste of",
    },
    "relations": {
        "home-land": toy_relation("home", "land"),
        "dish-taste": {
            "family": "food",
            "source": {"template": "dish", "answers": list(CITIES[:6])},
            "target": {"template": "taste", "answers": list(CITIES[6:])},
        },
    },
}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    """A folder with a catalogue, and a store to be copied."""
    folder = tmp_path_factory.mktemp("device")
    (folder / "toy.yaml").write_text(yaml.safe_dump(CATALOGUE))
    assert main(["extract", *flags(folder, toy_model)]) == 0
    return folder


def flags(folder: Path, model: Path) -> list[str]:
    options = {
        "model": model,
        "model-device": "cpu",
        "catalogue": folder / "toy.yaml",
        "relations": ",".join(CATALOGUE["relations"]),
        "store": folder / "run.zarr",
        "cluster-kind": "serial",
        "subjects-count": 120,
    }
    return [f"--{name}={value}" for name, value in options.items()]


@pytest.fixture
def studied(
    extracted: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """What studies a copy of the store with fits on a device, without report."""
    monkeypatch.setattr(study, "COUNTS", (60, 90))
    monkeypatch.setattr(exports, "write_results", lambda _, folder: folder / "report.html")

    def study_on(device: str) -> dict[str, Any]:
        folder = tmp_path / device
        shutil.copytree(extracted, folder)
        found: dict[str, Any] = json_of("study", *flags(folder, toy_model), f"--fit-device={device}")
        return found

    return study_on


@pytest.fixture(params=["strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def arrays_on_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the arrays that were put on the device."""
    if request.param == "cupy" and not has_gpu():
        pytest.skip("CuPy finds no GPU")
    moved: list[int] = []

    def to_device(array: NDArray[Any], kind: str) -> Any:
        if kind == "cpu":
            return array
        moved.append(array.size)
        if request.param == "cupy":
            return arrays.to_device(array, kind)
        return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))

    monkeypatch.setattr(decompositions, "to_device", to_device)
    if request.param == "strict":
        monkeypatch.setattr(device_module, "has_gpu", lambda: True)
        monkeypatch.setattr(device_module, "free_bytes", lambda: 10**12)
        monkeypatch.setattr(device_module, "limit_memory", lambda kind, n_bytes: None)
    return moved


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each panel of outputs that is ranked: is it on the host?"""
    found: list[bool] = []

    def of(true: Any) -> RankedTruth:
        found.append(isinstance(true, np.ndarray))
        return RankedTruth.of(true)

    monkeypatch.setattr(fit_scores, "RankedTruth", SimpleNamespace(of=of))
    return found


def test_a_study_on_a_device_is_that_of_the_host(
    studied: Callable[[str], dict[str, Any]], arrays_on_device: list[int], ranked: list[bool]
) -> None:
    here = studied("cpu")
    assert not arrays_on_device
    assert ranked
    assert all(ranked)
    ranked.clear()
    there = studied("cuda")
    assert arrays_on_device
    assert ranked
    assert not any(ranked)
    for part in ("relations", "study"):
        assert_alike(there[part], here[part], part)


def assert_alike(found: Any, expected: Any, where: str) -> None:
    """Compare JSON values: numbers to 1e-6, but residuals, which are rounding errors themselves."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            if not key.endswith("residual"):
                assert_alike(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_alike(one, other, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), where
    else:
        assert found == expected, where


@pytest.mark.parametrize(
    ("asked", "sees", "free", "expected"),
    [
        ("auto", True, 100, "cuda"),
        ("auto", True, 99, "cpu"),  # no memory for it
        ("auto", False, 100, "cpu"),
        ("cuda", False, 100, "cpu"),  # it is the workers that must have one
        ("cpu", True, 100, "cpu"),
    ],
)
def test_a_process_takes_its_gpu_where_it_has_one_with_memory(
    monkeypatch: pytest.MonkeyPatch, asked: str, sees: bool, free: int, expected: str
) -> None:
    monkeypatch.setattr(device_module, "has_gpu", lambda: sees)
    monkeypatch.setattr(device_module, "free_bytes", lambda: free)
    limits: list[int] = []
    monkeypatch.setattr(device_module, "limit_memory", lambda kind, n_bytes: limits.append(n_bytes))
    assert own_device(asked, 100) == expected
    assert limits == ([0] if expected == "cuda" else [])  # one that a task had set is lifted
