"""CONFIG and the flags of a verb: a store in the place of a file, and the order of a verb's help."""

import json
import shutil

import pytest

from lincorr.errors import BadInput
from lincorr.store.store import LogitStore
from pipeline.cli.settings import settings_of

FEW = ("--subjects-count", "4")  # the toy model knows fewer words than the default asks for


def test_a_file_is_a_file_and_a_folder_or_url_is_a_store(tmp_path):
    (tmp_path / "run.yaml").write_text("model: m")
    assert settings_of(str(tmp_path / "run.yaml"), {}).store_url() == "runs/m.zarr"
    with pytest.raises(BadInput, match=f"no store at '{tmp_path}'"):
        settings_of(str(tmp_path), {})
    with pytest.raises(BadInput, match=f"no store at '{tmp_path}/a.zarr'"):  # all slashes are there
        settings_of(f"file://{tmp_path}/a.zarr", {})


def test_a_store_is_read_with_its_model_in_another_place(finished, printed, refusal, toy_model, tmp_path):
    store, moved = shutil.copytree(finished, tmp_path / "a.zarr"), shutil.copytree(toy_model, tmp_path / "m")
    kept = LogitStore.open(str(store), write=True)
    kept.save_settings(kept.settings() | {"model": {"source": str(tmp_path / "gone")}})
    assert "gone', of which the store is, is not there; say where it is by --model" in refusal("hubs", store)
    by_model = printed("show", "Tokyo", store, "--model", moved, "--json")
    assert json.loads(by_model) == json.loads(printed("show", "Tokyo", finished, "--json"))
    assert "no map of 'city-country'" in refusal(
        "show", "Tokyo", "--store", store, "--model", moved
    )  # flags tell all of a run


def test_a_verb_reads_the_store_in_its_place(printed, with_store):
    by_place = printed("show", "Tokyo", "run.zarr", "--catalogue", "toy.yaml", *FEW, "--json")
    assert json.loads(by_place) == json.loads(printed("show", "Tokyo", *with_store, "--json"))


def test_two_stores_are_refused(refusal, with_store):
    assert "'run.zarr' is a store, too; name one of them" in refusal("hubs", "run.zarr", *with_store)


def test_a_store_in_the_place_of_the_word_is_refused(refusal, finished):
    assert f"word: it is missing; give one before '{finished}'" in refusal("show", finished)


def test_a_folder_without_a_store_is_refused(refusal):
    assert "there is no store at '.' to take it from" in refusal("show", "Tokyo", ".")


def test_what_a_verb_has_of_its_own_comes_first_in_its_help(printed):
    words = printed("show", "--help")
    assert 0 < words.index("--target ") < words.index("--top ") < words.index("--model ")
