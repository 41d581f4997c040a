"""Commands on the toy model: flags, a finished store, refusals and what is printed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests.pipeline.cli.toy import files_of, write_catalogue


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by default lands where the test can see it; tables are wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def flags(tmp_path: Path, toy_model: Path, blank_plots: None) -> list[str]:
    """A run of the toy model that is small and stays in this process; later flags override."""
    catalogue = write_catalogue(tmp_path / "toy.yaml")
    options = {
        "--model": toy_model,
        "--catalogue": catalogue,
        "--relations": "toy",
        "--subjects-count": 60,
        "--store": tmp_path / "run.zarr",
        "--cluster-kind": "serial",
    }
    return [str(part) for option in options.items() for part in option]


@pytest.fixture
def with_store(flags: list[str], finished: Path, tmp_path: Path) -> list[str]:
    """The same run, with a store of one's own that is finished."""
    shutil.copytree(finished, tmp_path / "run.zarr")
    return flags


@pytest.fixture
def refusal(tmp_path: Path, toy_model: Path, capsys) -> Callable[..., str]:
    """The one line with which a command is refused, having changed nothing."""

    def refusal(*arguments: object) -> str:
        before = files_of(tmp_path, toy_model)
        code = main([str(a) for a in arguments])
        told = capsys.readouterr()
        assert code == 2
        assert told.out == ""
        lines = told.err.splitlines()
        assert len(lines) == 1, told.err
        assert lines[0].startswith("error: ")
        assert files_of(tmp_path, toy_model) == before
        return str(lines[0])

    return refusal


@pytest.fixture
def printed(capsys) -> Callable[..., str]:
    """What a command prints on standard output, having worked."""

    def printed(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0, capsys.readouterr().err
        return str(capsys.readouterr().out)

    return printed
