"""`lincorr plan`: what it counts, and what it refuses."""

import json
import shutil

import yaml

from tests.pipeline.cli.toy import files_of


def test_plan_counts_and_writes_nothing(printed, flags, tmp_path):
    before = files_of(tmp_path)
    planned = json.loads(printed("plan", *flags, "--store-shard-rows", 25, "--json"))
    assert files_of(tmp_path) == before
    assert planned["exists"] is False
    assert (planned["n_subjects"], planned["n_shards"]) == (60, 3)
    assert (planned["prompts_needed"], planned["prompts_kept"]) == (120, 0)
    assert planned["choices"]["toy/domain"]["method"] == "direct"
    assert planned["choices"]["toy/vocabulary"]["method"] == "factored"


def test_plan_says_what_is_kept_and_writes_nothing(printed, with_store, tmp_path):
    before = files_of(tmp_path)
    planned = json.loads(printed("plan", *with_store, "--subjects-count", 100, "--json"))
    assert files_of(tmp_path) == before
    assert (planned["prompts_needed"], planned["prompts_kept"]) == (80, 120)


def test_the_bytes_that_a_plan_predicts_are_those_that_are_written(printed, flags):
    planned = json.loads(printed("plan", *flags, "--json"))
    written = json.loads(printed("extract", *flags, "--json"))["bytes_written"]
    head = 376 * 32 * 4
    assert planned["bytes_to_write"] == written + head == 2 * 60 * (10 + 32) * 4 + head


def test_plan_prints_a_table(printed, flags):
    table = printed("plan", *flags)
    assert "60: 30 to fit, 30 to test" in table
    assert "120 to run, 0 stored" in table


def test_plan_refuses_what_the_disk_has_no_room_for(refusal, flags, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    assert "store: " in refusal("run", *flags)


def test_a_plan_names_what_is_no_answer_in_a_truth(printed, flags, tmp_path):
    catalogue = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    catalogue["relations"]["toy"]["truth"] += [["Tokio", "Japan"], ["Paris", "Nowhere"]]
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    note = (
        "Relation 'toy': 2 names of the truth are no answers and are ignored: 'Tokio' ('Tokyo'?), 'Nowhere'."
    )
    assert note in printed("plan", *flags)
    document = json.loads(printed("run", *flags, "--json"))
    assert document["notes"] == [note]
    assert document["model"]["device"] == "cpu"  # not "auto", as it was asked for
    assert "Note: Relation 'toy': 2 names" in printed("run", *flags)


def test_a_truth_with_its_targets_first_and_a_space_before_answers_are_noted(printed, flags, tmp_path):
    catalogue = yaml.safe_load((tmp_path / "toy.yaml").read_text())
    toy = catalogue["relations"]["toy"]
    toy["truth"] = [pair[::-1] for pair in toy["truth"]]
    catalogue["templates"]["town"] = "{} is in the town of "
    toy["source"] = {"template": "town", "answers": [*toy["source"]["answers"], "u", "n"]}  # as tokens
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(catalogue))
    plan = " ".join(printed("plan", *flags).replace("│", " ").split())
    assert "among the answers that count, so that there are no hit rates" in plan
    assert "Template 'town' ends in a space" in plan


def test_a_truth_of_answers_alone_is_not_noted(printed, flags):
    assert "no answer" not in printed("plan", *flags)
