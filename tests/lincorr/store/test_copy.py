"""What a copy of a store leaves behind when it fails, and what a resumed one takes over."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lincorr.errors import LincorrError
from lincorr.store import locations
from lincorr.store.compact import compact
from lincorr.store.copy import copy_store, files_to_copy
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from tests.lincorr.store.small_store import make, refusal


@pytest.fixture
def source(url: Path) -> str:
    """A store with a map of two parts."""
    make(url)
    fit = zarr.open_group(str(url), mode="r+").create_group("maps/toy/domain")
    for part in ("weights", "intercept"):
        fit.create_array(part, shape=(2, 2), dtype="f8")[...] = 1.0
    return str(url)


def copy(source: str, target: str) -> None:
    copy_store(source, target, files_to_copy(source))


def after_set(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Call `act` with the key of every file that was written."""
    plain = locations._Explained.set

    async def spoiling(self: Any, key: str, value: Any) -> None:
        await plain(self, key, value)
        act(key)

    monkeypatch.setattr(locations._Explained, "set", spoiling)


def test_a_copy_is_no_store_before_it_was_checked(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy"

    def spoil(key: str) -> None:
        if key.startswith("logits/city/c/0/"):
            (target / key).write_bytes(b"something else")

    after_set(monkeypatch, spoil)
    assert "is not what was sent" in refusal(LincorrError, lambda: copy(source, str(target)))
    assert not LogitStore.exists(str(target))
    monkeypatch.undo()
    copy(source, str(target))
    assert LogitStore.open(str(target)).verify() == []


def test_a_resumed_copy_has_nothing_that_its_source_has_lost(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a map that was fitted anew in another form would be taken for those of the new one."""
    target = tmp_path / "copy"

    def cut_off(key: str) -> None:
        if key.startswith("subjects/text/c/"):  # the last but the root
            raise LincorrError("cut off")

    after_set(monkeypatch, cut_off)
    with pytest.raises(LincorrError, match="cut off"):
        copy(source, str(target))
    monkeypatch.undo()
    shutil.rmtree(Path(source) / "maps/toy/domain/weights")
    copy(source, str(target))
    assert {path.relative_to(target) for path in target.rglob("*")} == {
        path.relative_to(source) for path in Path(source).rglob("*")
    }


def test_a_copy_that_fails_stops_writing(source: str, tmp_path: Path) -> None:
    target, files = tmp_path / "copy", files_to_copy(source)
    (Path(source) / files[0]).unlink()
    with pytest.raises(LincorrError, match="vanished"):
        copy_store(source, str(target), files)
    time.sleep(0.3)
    assert len(files_to_copy(str(target))) < len(files) / 2


def test_tiles_are_not_read_to_be_deleted(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Scratch.begin(f"{source}/scratch/toy", "digest").save("matrix", np.ones((2, 2)))
    read: list[str] = []
    plain = locations._Explained.get

    async def noted(self: Any, key: str, *others: Any, **named: Any) -> Any:
        read.append(key)
        return await plain(self, key, *others, **named)

    monkeypatch.setattr(locations._Explained, "get", noted)
    assert compact(source).files == 3
    assert [key for key in read if key.startswith("scratch/")] == []
