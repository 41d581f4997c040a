"""The lock of a store in a folder, also on file systems that lock no files."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from lincorr.errors import BadInput, LincorrError
from pipeline.runtime import lease, lock
from pipeline.runtime.executor import this_worker
from pipeline.runtime.lock import lock_path, sole_writer
from pipeline.runtime.lock_file import SharedFile
from tests.pipeline.runtime.race import takers


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


# --- without flock --------------------------------------------------------------------------------------


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "no fcntl"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a store on a file system without locks, or on Windows."""

    def flock(*_: object) -> None:
        code = getattr(errno, request.param)
        raise OSError(code, os.strerror(code))

    if request.param == "no fcntl":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(lease, "SECONDS", 0.6)
    monkeypatch.setattr(lease, "_SETTLED", 0.1)
    return str(tmp_path / "run.zarr")


def test_a_file_is_the_lock_where_there_is_no_other(store: str) -> None:
    said: list[str] = []
    with sole_writer(store, tell=said.append):
        time.sleep(0.7)  # without renewals it would have expired
        with pytest.raises(LincorrError, match=f"by another run, {this_worker()} "), sole_writer(store):
            pass
        assert json.loads(lock_path(store).read_text())["holder"] == this_worker()
    assert said == [lease._NO_CONDITIONS.format(store)]
    with sole_writer(store):  # it is free now
        pass


@pytest.mark.parametrize("store", ["ENOLCK"], indirect=True)
def test_the_lock_of_a_dead_run_expires(store: str) -> None:
    record = {"holder": "there:1", "token": "t", "renewed": time.time(), "seconds": 0.3}
    lock_path(store).write_text(json.dumps(record))
    with pytest.raises(LincorrError, match=r"by another run, there:1 .* ends at"), sole_writer(store):
        pass
    time.sleep(0.4)
    with sole_writer(store):
        assert json.loads(lock_path(store).read_text())["holder"] == this_worker()


@pytest.mark.parametrize("store", ["ENOLCK"], indirect=True)
def test_a_run_whose_file_was_taken_over_stops(store: str) -> None:
    def take_over() -> None:
        SharedFile(lock_path(store)).overwrite(b"theirs")
        time.sleep(5)

    with pytest.raises(LincorrError, match="was cut off from"), sole_writer(store):
        take_over()
    assert lock_path(store).read_bytes() == b"theirs"


@pytest.mark.parametrize("store", ["ENOLCK"], indirect=True)
def test_a_lock_that_cannot_be_released_hides_no_interrupt(store: str) -> None:
    """It ends by itself."""

    def lose_the_file() -> None:
        lock_path(store).unlink()
        lock_path(store).mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), sole_writer(store):
        lose_the_file()


@pytest.mark.parametrize("left", [None, b"", b'{"holder": "x", "token": "", "renewed": 0, "seconds": 1}'])
def test_of_many_who_try_at_once_one_gets_the_file(
    left: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_SETTLED", 0.5)
    path = tmp_path / "run.zarr.lock"
    if left is not None:
        path.write_bytes(left)
    assert takers(lambda: lease._Lease("run.zarr", SharedFile(path)), 8) == 1


def test_another_error_of_locking_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    store = str(tmp_path / "run.zarr")
    with pytest.raises(BadInput, match=r"cannot be locked \(Input/output error"), sole_writer(store):
        pass
