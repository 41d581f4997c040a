"""docs/relations.md: its commands are understood, its example works, and its counts are right."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from lincorr.relations import load_catalogue
from pipeline.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "relations.md").read_text("utf-8")
COMMANDS = re.findall(r"^    (lincorr [^#\n]+?)\s*(?:#.*)?$", PAGE, flags=re.MULTILINE)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


@pytest.fixture
def folder(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's files are, and a model called ./llama."""
    (tmp_path / "birds.yaml").write_text(block("yaml"), "utf-8")
    (tmp_path / "songs.txt").write_text("Tokyo\nJapan\nthe\n", "utf-8")
    (tmp_path / "pairs.csv").write_text("robin,Tokyo\nowl,Japan\n", "utf-8")
    (tmp_path / "llama").symlink_to(toy_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command)[1:], "--help"]) == 0
    usage = capsys.readouterr().out
    assert all(flag in usage for flag in re.findall(r"--[a-z-]+", command))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lincorr relations list")])
def test_the_lists_of_the_page_are_printed(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)[1:]) == 0
    assert ("bird-song" in capsys.readouterr().out) == ("birds.yaml" in command)


def test_the_example_of_the_page_is_a_catalogue(folder: Path) -> None:
    catalogue = load_catalogue([folder / "birds.yaml"])
    relation = catalogue.relation("bird-song")
    assert (relation.family, relation.truth[0]) == ("birds", ("robin", "Tokyo"))
    assert [r.name for r in catalogue.paraphrases("bird-song")] == ["bird-song.2", "bird-song.3"]
    assert catalogue.select(["family:birds"]) == ["bird-song"]


def test_the_example_of_the_page_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = [c for c in COMMANDS if "check" in c and "birds" in c]
    assert main(shlex.split(command)[1:]) == 0
    assert "bird-song (!)" in capsys.readouterr().out  # the toy model knows no birds


def test_the_python_of_the_page_runs() -> None:
    exec(compile(block("python"), "docs/relations.md", "exec"), {})


def test_the_counts_of_the_page_are_those_of_the_catalogue() -> None:
    catalogue = load_catalogue()
    counts = Counter(catalogue.describe(name).family for name in catalogue.names())
    told = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, flags=re.MULTILINE)
    assert {family: int(count) for family, count in told} == counts
