"""Fits and scores are found once, until something that they depend on changes."""

from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import yaml
import zarr

from lincorr.scores.relation_scores import RelationScores
from lincorr.store.head import Head
from lincorr.store.identity import Kind
from lincorr.store.shards import Shards
from lincorr.testing import CITIES
from pipeline.cli.main import main
from pipeline.evaluate import scores as evaluate
from tests.commands import flags_of
from tests.pipeline.run.runner import FITS


def test_a_fit_is_kept_until_its_inputs_change(rerun):
    every_fit = [f"toy/{name}" for name in FITS]
    assert rerun("fit")["fitted"] == []
    assert rerun("fit", subjects_split="grouped")["fitted"] == every_fit
    assert rerun("fit", subjects_split="grouped")["fitted"] == []
    assert rerun("fit", fit_rcond=1e-3)["fitted"] == every_fit
    assert rerun("fit", subjects_count=60)["fitted"] == every_fit


def test_only_what_is_done_is_told(rerun, capfd):
    def told(verb: str, **changes: object) -> str:
        assert main([verb, *flags_of(rerun.flags | changes)]) == 0
        told: str = capfd.readouterr().err
        return told

    for changes in ({}, {"subjects-count": 60}):
        assert ("Fitting toy" in told("fit", **changes)) == bool(changes)
        assert ("Evaluating toy" in told("evaluate", **changes)) == bool(changes)


@pytest.mark.parametrize("verb", ["extract", "fit"])
def test_what_is_done_checks_every_shard_once(verb, rerun, monkeypatch):
    plain = Shards._read
    read: Counter[tuple[str, str, int]] = Counter()

    def noted(self: Shards, kind: Kind, name: str, shard: int, record: np.ndarray) -> np.ndarray:
        read[kind, name, shard] += 1
        return plain(self, kind, name, shard, record)

    monkeypatch.setattr(Shards, "_read", noted)
    again = rerun(verb)
    assert not again.get("fitted", again.get("shards"))
    assert len(read) == 2 * 2 * rerun.store.shards.count
    assert set(read.values()) == {1}


def test_a_fit_is_made_again_when_its_answers_change(rerun):
    (rerun.folder / "few.txt").write_text("\n".join(CITIES[:5]))
    again = rerun("fit", source_answers=rerun.folder / "few.txt")["fitted"]
    assert again == ["toy/domain", "toy/domain-ridge"]
    assert rerun.store.maps.load("toy", "domain").weights.shape == (5, 10)


def test_answers_of_several_tokens_need_no_forward_pass(rerun):
    (rerun.folder / "more.txt").write_text("\n".join([*CITIES, "Japanville", "Peru Lima"]))
    changes = {"source_answers": rerun.folder / "more.txt", "multi_token": True}
    assert rerun("extract", **changes)["prompts"] == 0
    assert rerun("fit", **changes)["fitted"] == ["toy/domain", "toy/domain-ridge"]
    assert rerun.store.maps.load("toy", "domain").weights.shape == (12, 10)
    found = rerun("evaluate", **changes)
    [relation] = found["relations"]
    assert relation["source"]["coverage"] == {"whole": 10, "phrase": 1, "subword": 1}
    shown = {hub["token"] for hub in relation["hubs"]["domain"]["hubs"]}
    assert shown <= {f" {name}" for name in [*CITIES, "Japanville", "Peru Lima"]}  # in full
    assert any("multi_token: 2 answers" in note for note in found["notes"])


def test_a_repair_to_the_same_bits_keeps_the_fits(rerun):
    zarr.open_array(str(rerun.flags["store"]), path="done/city", mode="r+")[0] = np.array([32, 1, 1, 0, 0])
    assert rerun("extract")["prompts"] == 32
    assert rerun("fit")["fitted"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"subjects-split": "grouped"},
        {"subjects-count": 60},
        {"subjects-seed": 3, "subjects-split": "grouped"},
    ],
    ids=lambda change: ", ".join(change),
)
def test_maps_are_not_scored_on_what_they_were_fitted_to(change, rerun, capsys):
    flags = rerun.flags | change
    if "subjects-seed" in change:
        rerun("extract", subjects_seed=3)
    assert main(["evaluate", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    assert "run `lincorr fit` first" in capsys.readouterr().err


def test_a_fit_that_was_broken_off_is_made_again(rerun):
    group = zarr.open_group(str(rerun.flags["store"]), mode="r+")["maps/toy/vocabulary"]
    del group.attrs["inputs"]  # written last
    again = rerun("fit")["fitted"]
    assert "toy/vocabulary" in again
    assert "toy/domain" not in again


# Scores are found once


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The relations that are scored, in order."""
    names: list[str] = []
    score = evaluate._scores

    def note(store: Any, inputs: Any, *rest: Any) -> RelationScores:
        names.append(inputs.relation.name)
        return score(store, inputs, *rest)

    monkeypatch.setattr(evaluate, "_scores", note)
    return names


def test_scores_are_kept_until_something_they_depend_on_changes(rerun, scored):
    again = rerun("evaluate")
    assert scored == []
    assert again["relations"] == rerun.document["relations"]
    rerun("evaluate", report_sources=3)
    rerun("evaluate", report_sources=3)
    assert scored == ["toy"]
    rerun("fit", fit_rcond=1e-3)
    rerun("evaluate", fit_rcond=1e-3)
    assert scored == ["toy"] * 2
    rerun("run", relations="toy,second")  # which brings a control
    assert scored == ["toy"] * 3 + ["second"]


def test_scores_are_found_again_when_the_truth_changes(rerun, scored):
    catalogue = yaml.safe_load(rerun.flags["catalogue"].read_text())
    catalogue["relations"]["toy"]["truth"] = [["Tokyo", "Peru"]]
    rerun.flags["catalogue"].write_text(yaml.safe_dump(catalogue))
    found = rerun("evaluate")["relations"][0]["fits"][0]["hits"]["influenced target"]
    assert (scored, found["of"]) == (["toy"], 1)


def test_kept_scores_are_not_told_of_damaged_rows(rerun, capsys):
    chunk = next(path for path in (Path(rerun.flags["store"]) / "hidden/city/c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert main(["evaluate", *(f"--{name}={value}" for name, value in rerun.flags.items())]) == 1
    assert "damaged" in capsys.readouterr().err


def test_the_head_is_read_once_for_all_maps(rerun):
    with mock.patch.object(Head, "read", autospec=True, side_effect=Head.read) as read:
        rerun("evaluate", report_sources=3)
    assert read.call_count == 1


@pytest.mark.parametrize(
    "change",
    [{"subjects-split": "grouped"}, {"subjects-count": 60}, {"fit-penalty": 0.1}, {"report-sources": 3}],
    ids=lambda change: ", ".join(change),
)
def test_a_report_does_not_show_scores_of_other_settings(change, rerun, capsys):
    """Its page would tell of subjects that they are not of."""
    page = rerun.folder / "run-report" / "report.html"
    before = page.read_bytes()
    flags = rerun.flags | change
    assert main(["report", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    assert "were found with other subjects" in capsys.readouterr().err
    assert page.read_bytes() == before


def test_a_report_is_written_where_other_solvers_would_be_chosen(rerun):
    """By a machine of less memory, say."""
    assert Path(rerun("report", fit_method="gram")["report"]).is_file()
