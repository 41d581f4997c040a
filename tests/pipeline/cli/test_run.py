"""What the verbs of a run print."""

import json
from contextlib import nullcontext

import pytest

from pipeline.cli.main import main


@pytest.mark.parametrize("verb", ["run", "extract", "fit", "evaluate", "report"])
def test_json_is_all_that_is_printed(verb, with_store, capfd):
    assert main([verb, *with_store, "--json"]) == 0
    told = capfd.readouterr()
    assert isinstance(json.loads(told.out), dict)
    assert told.err == ""


def test_a_table_goes_out_and_what_happens_goes_to_the_side(with_store, capsys):
    assert main(["run", *with_store]) == 0
    told = capsys.readouterr()
    assert "held-out score of each fit" in told.out
    assert "vocabulary-ridge" in told.out
    assert "Nothing to extract" in told.err


def test_a_store_alone_names_all_that_it_was_made_with(printed, finished):
    """The model, a catalogue of one's own, the relation, and how many subjects."""
    alone = ("--store", finished, "--json")
    assert json.loads(printed("plan", *alone))["prompts_needed"] == 0
    assert json.loads(printed("plan", *alone))["n_subjects"] == 60
    assert json.loads(printed("fit", *alone)) == {"fitted": []}
    assert json.loads(printed("show", "Tokyo", *alone))[0]["relation"] == "toy"


def test_flags_change_what_a_store_was_made_with(printed, finished):
    planned = json.loads(printed("plan", "--store", finished, "--subjects-count", 70, "--json"))
    assert (planned["n_subjects"], planned["prompts_needed"]) == (70, 20)


@pytest.mark.parametrize(
    ("method", "penalty", "read"),
    [
        ("direct", None, ["domain", "vocabulary-ridge"]),
        ("factored", 0.01, ["domain", "vocabulary-ridge"]),
        ("gram", 0, ["domain", "vocabulary-ridge"]),
        ("dual", None, ["domain", "vocabulary-ridge"]),
        ("lowrank", 0.01, ["domain", "vocabulary-ridge"]),
        ("tiled", None, ["vocabulary-ridge"]),  # which has ridge maps only
    ],
)
def test_every_method_goes_through_to_the_report(method, penalty, read, printed, with_store, tmp_path):
    settings = ["--fit-method", method, *([] if penalty is None else ["--fit-penalty", penalty])]
    words, page = printed("run", *with_store, *settings).split("Report: ")
    heads = words[words.index("strongest targets of each fit") :].splitlines()[2].split()
    assert heads == ["source", *read]
    assert "Paris" in words
    assert (tmp_path / page.strip()).is_file()


@pytest.mark.parametrize("verb", ["run", "extract", "study"])
def test_workers_of_a_new_store_begin_to_be_made_ready(verb, toy_model, finished, tmp_path, monkeypatch):
    begun = []

    def warm(*_):
        begun.append(verb)
        return nullcontext()

    monkeypatch.setattr("pipeline.cli.settings.warm_workers", warm)
    refused = [verb, "--model", str(toy_model), "--relations", "unheard-of", "--store"]
    assert main([*refused, str(finished)]) == 2
    assert begun == []
    assert main([*refused, str(tmp_path / "new.zarr")]) == 2
    assert begun == [verb]
