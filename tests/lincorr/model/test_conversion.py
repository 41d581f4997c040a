"""What conversions of GGUF files leave in the cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lincorr.model import gguf
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


def test_a_conversion_needs_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lets few users make them."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("os.symlink", refused)
    file = save_toy_gguf(tmp_path / "small model.gguf")
    folder = gguf.convert(file, tmp_path / "cache" / "small")
    assert (folder / "model.safetensors").exists()


def test_a_file_of_another_content_is_converted_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    folders = []
    for number, content in enumerate((b"one", b"two", b"one")):
        file.write_bytes(content)
        os.utime(file, (number, number))
        folders.append(gguf.conversion_folder(file, str(tmp_path)))
    assert folders[0] == folders[2] != folders[1]
