"""A batch size that was tried out is used again, for the same model and machine only."""

import json
import time
from pathlib import Path

import pytest

from lincorr.model.tuned import is_remembered, remembered


def never() -> int:
    raise AssertionError("it was tried out again")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model.Q4-0123"
    made.mkdir()
    return made


def test_a_size_is_tried_out_once(folder: Path) -> None:
    assert remembered(folder, {"threads": 1}, lambda: 256) == 256
    assert remembered(folder, {"threads": 1}, never) == 256
    assert remembered(folder, {"threads": 2}, lambda: 512) == 512  # another fact, another size
    assert remembered(folder, {"threads": 1}, never) == 256


def test_a_size_is_tried_out_again_after_a_week(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been found on a busy machine. Those that are out of date are forgotten."""
    began = time.time()
    remembered(folder, {"threads": 1}, lambda: 64)
    for day, tune, size in ((6, never, 64), (8, lambda: 256, 256), (14, never, 256)):
        monkeypatch.setattr("time.time", lambda day=day: began + day * 86400)
        assert remembered(folder, {"threads": 1}, tune) == size
    remembered(folder, {"threads": 2}, lambda: 512)
    monkeypatch.setattr("time.time", lambda: began + 16 * 86400)
    remembered(folder, {"threads": 3}, lambda: 1024)
    (file,) = folder.parent.glob("*.json")
    assert [size["tokens"] for size in json.loads(file.read_text()).values()] == [512, 1024]


def test_another_machine_tries_for_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered(folder, {}, lambda: 256)
    monkeypatch.setattr("platform.node", lambda: "another")
    assert not is_remembered(folder)
    assert remembered(folder, {}, lambda: 1024) == 1024


def test_whether_one_is_remembered_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_remembered(None)
    assert not is_remembered(folder)
    remembered(folder, {"threads": 1}, lambda: 256)
    assert is_remembered(folder)
    later = time.time() + 8 * 86400
    monkeypatch.setattr("time.time", lambda: later)
    assert not is_remembered(folder)


@pytest.mark.parametrize("broken", ["", "[]", '{"', "{}", '{"other": {"found": 1e300}}'])
def test_a_broken_file_is_written_anew(folder: Path, broken: str) -> None:
    remembered(folder, {}, lambda: 256)
    (file,) = folder.parent.glob("*.json")
    file.write_text(broken)
    assert not is_remembered(folder)
    assert remembered(folder, {}, lambda: 512) == 512
    assert remembered(folder, {}, never) == 512


def test_nothing_is_written_for_models_of_others(tmp_path: Path) -> None:
    assert remembered(None, {}, lambda: 256) == 256
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    assert remembered(tmp_path / "absent" / "model", {}, lambda: 256) == 256
