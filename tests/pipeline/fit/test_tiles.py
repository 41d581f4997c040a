"""Tasks of fits reach workers by name."""

import pickle
from typing import Any

import pytest

from pipeline.fit import cut, dual, gram, leave_one_out, lowrank, measure, reduced, sweeps, tiled

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
