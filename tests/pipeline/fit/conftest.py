"""Stores of planted problems, and tiles that are small."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lincorr.store.store import LogitStore
from lincorr.testing import planted_store
from pipeline.plan import memory as rules
from tests.pipeline.fit.planted import P, planted


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_PANEL", 40)
    monkeypatch.setattr(rules, "_FEWEST_ROWS", 8)
    monkeypatch.setattr(rules, "largest_tile", lambda p, memory: 32)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    for method in P:
        planted_store(str(folder / f"{method}.zarr"), planted(method), shard_rows=50)
    return {method: folder / f"{method}.zarr" for method in P}


@pytest.fixture
def store_of(stores: dict[str, Path], tmp_path: Path) -> Callable[..., LogitStore]:
    def copy(method: str, name: str = "run") -> LogitStore:
        path = shutil.copytree(stores[method], tmp_path / f"{name}.zarr")
        return LogitStore.open(str(path), write=True)

    return copy
