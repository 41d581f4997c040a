"""The lock of a store in a folder."""

from pathlib import Path

import pytest

from lincorr.errors import BadInput
from pipeline.runtime.lock import sole_writer


@pytest.mark.parametrize("exists", [True, False])
def test_a_lock_that_is_a_link_is_refused_and_its_target_kept(exists: bool, tmp_path: Path) -> None:
    target = tmp_path / "letters.txt"
    if exists:
        target.write_text("mine")
    (tmp_path / "run.zarr.lock").symlink_to(target)
    with pytest.raises(BadInput, match="symbolic link; delete it"), sole_writer(str(tmp_path / "run.zarr")):
        pass
    assert target.exists() == exists
    assert not exists or target.read_text() == "mine"
    assert (tmp_path / "run.zarr.lock").is_symlink()
