"""A study as a whole: found once, written in every form, and refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest

from lincorr.scores.documents import from_document
from lincorr.scores.results import Results
from pipeline.cli.main import main
from pipeline.cli.study import print_study
from pipeline.study import growth, matrix, operators, spectrum
from pipeline.study.families import (
    beside_paper,
)
from pipeline.study.study import study_of
from tests.pipeline.study.toy_study import FAMILY, RELATIONS, Study, study_alone
from tests.scores import scored


def test_matrices_and_growth_are_found_once(done: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("computed again")

    parts = ((matrix, "_all_pairs"), (growth, "_score"), (operators, "joint_rank"))
    for module, name in (*parts, (spectrum, "_singular_values")):
        monkeypatch.setattr(module, name, refuse)
    again = done()
    for part in ("matrices", "growth", "families", "operators", "spectrum"):
        assert again["study"][part] == done.document["study"][part]
    with pytest.raises(AssertionError, match="computed again"):
        done("--fit-rcond=0.01", "--debug")


def test_some_relations_may_be_followed_or_none(done: Study) -> None:
    assert done("--growth=none")["study"]["growth"] == []
    assert [g["relation"] for g in done("--growth=home-late")["study"]["growth"]] == ["home-late"]


def test_every_wording_can_be_asked_for(done: Study) -> None:
    flags = [flag for flag in done.flags if not flag.startswith("--relations")]
    document = study_alone([*flags, "--relations=home-land,home-late", "--wordings=all", "--growth=none"])
    names = [relation["name"] for relation in document["relations"]]
    assert names == ["home-land", "home-land.2", "home-late", "home-late.2"]


# --- what is written -----------------------------------------------------------------------------------


def test_tables_are_written_twice_with_the_same_rows(done: Study) -> None:
    folder = done.folder / "run-report"
    names = ["scores", "links", "families", "matrix", "growth", "paraphrases", "generalisation"]
    for name in (*names, "operators", "ranks", "spectrum"):
        from_csv = pandas.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
        from_parquet = pandas.read_parquet(folder / f"{name}.parquet")
        assert list(from_csv.columns) == list(from_parquet.columns)
        assert len(from_csv) == len(from_parquet) > 0
        for column in from_csv.columns:
            known = from_parquet[column].notna()
            if pandas.api.types.is_float_dtype(from_parquet[column]):
                left, right = from_csv[column][known].astype(float), from_parquet[column][known]
                assert np.allclose(left, right)
            else:
                assert (
                    from_csv[column][known].astype(str).tolist()
                    == from_parquet[column][known].astype(str).tolist()
                )
    assert not (folder / "paper.csv").exists()  # the paper has none of these relations
    scores = pandas.read_parquet(folder / "scores.parquet")
    assert set(scores["relation"]) == set(RELATIONS)
    assert scores["identified"].dtype == bool


def test_the_page_shows_a_study_and_escapes_it(done: Study) -> None:
    page = (done.folder / "run-report" / "report.html").read_text("utf-8")
    assert "Every prompt to every other: places, domain" in page
    assert "More subjects: places" in page
    assert "Every map on every relation’s rows: home-land, wordings, domain" in page
    assert "Through few directions: places, family, vocabulary-ridge" in page
    assert "Hidden states of all templates side by side" in page
    assert "Does precision go with generalisation?" in page
    assert "The paper reports no figure of these relations." in page
    assert FAMILY not in page
    assert "&lt;b&gt;food&lt;/b&gt; &amp; more" in page
    folder = done.folder / "run-report"
    pngs = {path.name for path in folder.glob("report-*.png")}
    assert {
        "report-matrix-1.png",
        "report-growth-1.png",
        "report-operators-1.png",
        "report-spectrum.png",
    } <= pngs


def test_tables_fit_a_terminal(
    done: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    paper = [scored("city-country", 0.8, 0.3)]
    results = from_document(Results, done.document, "the study", "")
    assert results.study is not None
    print_study(replace(results, study=replace(results.study, paper=tuple(beside_paper(paper)))))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "home-land.*" in shown
    assert "templates side by side" in shown
    for words in ("home-land", "places (2)", "influenced target", "influencing source", "llama-3-8b", "0.89"):
        assert words in shown


def test_a_dataset_has_the_documents_figures(done: Study) -> None:
    found = done.store.maps.scores_dataset(RELATIONS)
    assert found.sizes == {"relation": 4, "fit": 4, "direction": 2, "k": 3}
    for relation in done.document["relations"]:
        for fit in relation["fits"]:
            cell = found.sel(relation=relation["name"], fit=fit["name"])
            assert float(cell.r) == fit["r"]
            if fit["hits"]:
                assert (
                    float(cell.hit.sel(direction="influencing source", k=3))
                    == (fit["hits"]["influencing source"]["3"])
                )
            else:
                assert np.isnan(cell.hit).all()
    assert found.family.sel(relation="dish-taste").item() == FAMILY
    assert set(done.store.maps.scores_dataset().relation.values) >= set(RELATIONS)


def test_a_study_is_of_scores_alone() -> None:
    """What a study adds can be made of scores without matrices, growth or edits."""
    found = study_of([scored("a", 0.5, 0.2)])
    assert found.families[0].coverage.source.whole == 0.75
    assert (found.paper, found.matrices, found.growth) == (None, (), ())


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--growth=home-town", "--relations=home-town"])
def test_an_unknown_relation_is_refused(done: Study, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *done.flags, flag]) == 2
    shown = capsys.readouterr().err.strip()
    assert "home-town" in shown
    assert len(shown.splitlines()) == 1
