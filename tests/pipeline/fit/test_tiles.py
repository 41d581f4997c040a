"""Tasks of fits reach workers by name, and look at their scratch once."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import zarr

from lincorr.errors import LincorrError
from lincorr.store.scratch import Scratch
from pipeline.fit import cut, dual, gram, leave_one_out, lowrank, measure, reduced, sweeps, tiled
from pipeline.fit.tiles import TileTask, opened

TASKS = [
    *(cut.cut_block, measure.measure_block, sweeps.sweep),
    *(gram.sum_moments, gram.merge_moments, dual.multiply_rows, dual.dual_basis),
    *(lowrank.sketch_rows, lowrank.find_range, lowrank.project_panel, lowrank.lowrank_basis),
    *(reduced.project_targets, leave_one_out.leave_out, tiled.make_tiles, tiled.solve_blocks, tiled.certify),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_task_is_pickled_by_reference(task: Any) -> None:
    sent = pickle.dumps(task)
    assert pickle.loads(sent) is task
    assert len(sent) < 100


def test_a_task_looks_at_its_scratch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "scratch")
    scratch = Scratch.begin(url, "inputs")
    scratch.remember(device="cpu", memory_bytes=10**6)
    task, looks, look = TileTask("", url, scratch.begun, 0), list[str](), zarr.open_group

    def counted(*arguments: Any, **named: Any) -> Any:
        looks.append(named["mode"])
        return look(*arguments, **named)

    monkeypatch.setattr(zarr, "open_group", counted)
    first = opened(task)
    assert looks == ["r", "r+", "r"]  # settings; tiles; whether they are still this fit's
    looks.clear()
    assert opened(task) == first
    assert looks == ["r"]

    monkeypatch.undo()
    Scratch.begin(url, "others")
    with pytest.raises(LincorrError, match="was begun anew or deleted"):
        opened(task)
