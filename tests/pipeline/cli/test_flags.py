"""CONFIG and the flags of a verb: a store in the place of a file, and the order of a verb's help."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.flags import with_settings

FEW = ("--subjects-count", "4")  # the toy model knows fewer words than the default asks for


@pytest.fixture
def called():
    """What a verb is called with for a command line: path of the file, and settings."""
    seen: dict[str, object] = {}

    @with_settings
    def verb(config: Path | None, overrides: dict[str, str]) -> None:
        """Keep what it is called with."""
        seen.update(config=config, **overrides)

    app = typer.Typer()
    app.command()(verb)

    def called(*arguments: str) -> dict[str, object]:
        seen.clear()
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        return seen

    return called


def test_a_file_is_a_file_and_a_folder_or_url_is_a_store(called, tmp_path):
    assert called(str(tmp_path / "run.yaml")) == {"config": tmp_path / "run.yaml"}
    assert called(str(tmp_path)) == {"config": None, "store.path": str(tmp_path)}
    for url in ("s3://bucket/run.zarr", "file:///data/run.zarr"):
        assert called(url) == {"config": None, "store.path": url}


def test_a_verb_reads_the_store_in_its_place(printed, with_store):
    by_place = printed("show", "Tokyo", "run.zarr", "--catalogue", "toy.yaml", *FEW, "--json")
    assert json.loads(by_place) == json.loads(printed("show", "Tokyo", *with_store, "--json"))


def test_two_stores_are_refused(refusal, with_store):
    assert "'run.zarr' is a store, too; name one of them" in refusal("hubs", "run.zarr", *with_store)


def test_a_folder_without_a_store_is_refused(refusal):
    assert "there is no store at '.' to take it from" in refusal("show", "Tokyo", ".")


def test_what_a_verb_has_of_its_own_comes_first_in_its_help(printed):
    words = printed("show", "--help")
    assert 0 < words.index("--target ") < words.index("--top ") < words.index("--model ")
