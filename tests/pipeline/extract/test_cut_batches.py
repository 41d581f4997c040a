"""Batches that were cut in two are counted in the store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lincorr.store.store import LogitStore
from lincorr.testing import hidden_problem, planted_store
from pipeline.cli.main import main
from pipeline.extract.stage import extract_shards
from pipeline.runtime.console import Narrator
from pipeline.runtime.executor import Receipt, ignore


class Cutting:
    """Runs nothing, tells of shards with batches that the device could not hold, and is interrupted."""

    workers = 1

    def run(self, stage: object, on_result: Callable[[Any], None] = ignore) -> list[Any]:
        """Tell, then end."""
        for cut in (3, 0, 2):
            on_result(Receipt("shard", "here:1", 8, 0, 0.0, 1.0, 1.0, 0, cut_batches=cut))
        raise KeyboardInterrupt


def test_cut_batches_are_counted_at_once_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = planted_store(str(tmp_path / "run.zarr"), hidden_problem(20, 4, 8, 8), shard_rows=10)
    for run in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            extract_shards(Cutting(), store, [], Narrator(quiet=True))
        assert LogitStore.open(store.url).cut_batches == 5 * run
    assert main(["store", "info", store.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cut_batches"] == 10
