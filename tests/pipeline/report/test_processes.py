"""Calls in processes of their own."""

import os
from functools import partial
from pathlib import Path

import pytest

from pipeline.report.processes import FEW, call_all


def write(folder: Path, number: int) -> None:
    if number == 13 and (folder / "fail").exists():
        raise OSError("no room")
    (folder / str(number)).write_text(str(os.getpid()))


def processes(folder: Path) -> set[int]:
    return {int(path.read_text()) for path in folder.iterdir()}


def test_a_few_calls_stay_in_this_process(tmp_path):
    call_all(partial(write, tmp_path), FEW - 1)
    assert processes(tmp_path) == {os.getpid()}
    assert len(list(tmp_path.iterdir())) == FEW - 1


def test_many_calls_are_each_made_once_elsewhere(tmp_path):
    call_all(partial(write, tmp_path), FEW)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(FEW))
    assert os.getpid() not in processes(tmp_path)


def test_what_a_call_raises_is_raised_here(tmp_path):
    (tmp_path / "fail").touch()
    with pytest.raises(OSError, match="no room"):
        call_all(partial(write, tmp_path), 200)
    assert len(list(tmp_path.iterdir())) < 200
