"""What conversions of GGUF files leave in the cache."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lincorr.model import gguf
from tests.lincorr.model.refused import refusal
from tests.lincorr.model.toy_gguf import save_toy_gguf


def test_what_a_killed_conversion_left_is_removed_by_the_next_and_one_under_way_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cache = tmp_path / "small.gguf", tmp_path / "cache"
    killed = (
        "import os, signal, sys; from pathlib import Path; from lincorr.model import gguf\n"
        "gguf._write_converted = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "gguf.convert(Path(sys.argv[1]), Path(sys.argv[2]) / 'small')"
    )
    subprocess.run([sys.executable, "-c", killed, str(file), str(cache)], check=False)
    assert len(list(cache.iterdir())) == 1

    def write(_: Path, folder: Path) -> None:
        (folder / "config.json").touch()
        if len(list(cache.iterdir())) == 1:  # one other begins while this one is under way
            gguf.convert(file, cache / "other")

    monkeypatch.setattr(gguf, "_write_converted", write)
    assert gguf.convert(file, cache / "small") == cache / "small"
    assert sorted(path.name for path in cache.iterdir()) == ["other", "small"]


def test_a_log_has_no_bar_of_a_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gguf.convert(save_toy_gguf(tmp_path / "small.gguf"), tmp_path / "cache" / "small")
    assert capsys.readouterr().err == ""


def test_a_conversion_needs_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lets few users make them."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("os.symlink", refused)
    file = save_toy_gguf(tmp_path / "small model.gguf")
    folder = gguf.convert(file, tmp_path / "cache" / "small")
    assert (folder / "model.safetensors").exists()


def test_a_conversion_on_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # a limit to the size of files, as a disk has one
    file, cache = save_toy_gguf(tmp_path / "small.gguf"), tmp_path / "cache"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        line = refusal(lambda: gguf.convert(file, cache / "small"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert line.startswith(f"model.cache: {str(cache)!r} cannot be written (")
    assert list(cache.iterdir()) == []


def test_other_users_of_a_cache_can_read_a_conversion(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = gguf.convert(save_toy_gguf(tmp_path / "small.gguf"), tmp_path / "cache" / "small")
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (folder, *folder.iterdir()))


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, hashed, plain = tmp_path / "small.gguf", [], hashlib.file_digest

    def counted(*arguments: Any) -> Any:
        hashed.append(arguments)
        return plain(*arguments)

    monkeypatch.setattr(hashlib, "file_digest", counted)

    def folder() -> Path:
        return gguf.conversion_folder(file, str(tmp_path))

    file.write_bytes(b"one")
    first = folder()
    assert folder() == first
    file.write_bytes(b"another")
    assert folder() != first
    assert len(hashed) == 2
