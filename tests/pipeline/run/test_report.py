"""What a run prints and writes."""

import json
from importlib.metadata import version
from pathlib import Path

from lincorr.scores.documents import from_document
from lincorr.scores.results import Results
from pipeline.cli.run import print_results
from tests.pipeline.run.runner import FITS


def test_few_rows_and_interpolation_are_warned_of(rerun, finished):
    assert [words[:30] for words in finished.document["relations"][0]["warnings"]] == [
        "only 50 subjects are held out:"
    ]
    warnings = rerun("run", subjects_count=60)["relations"][0]["warnings"]
    assert warnings[0].startswith("only 30 subjects")
    assert warnings[1].startswith("vocabulary: 30 subjects are fitted with 29 free directions")
    assert len(warnings) == 2  # with ridge W does not follow the noise


def test_a_single_answer_is_warned_of(rerun):
    """Centred weights of one target are zero, and its hit@1 is 1 by chance."""
    (rerun.folder / "one.txt").write_text("Japan\n")
    (relation,) = rerun("run", target_answers=rerun.folder / "one.txt")["relations"]
    assert relation["warnings"][1].startswith("only one target answer is a column")


def test_the_terminal_shows_what_r_is_worth(finished, capsys):
    print_results(from_document(Results, finished.document, "the results", ""))
    printed = capsys.readouterr().out
    fit = finished.fits["domain-ridge"]
    scores, row = (line for line in printed.splitlines() if line.strip().startswith("domain-r"))
    hit, low, high = (fit["hits"]["influenced target"][part] for part in ("1", "low", "high"))
    ends = "–".join(f"{end['1']:.2f}".removeprefix("0") for end in (low, high))
    assert f" {hit:.2f} ({ends}) " in scores
    assert f"{fit['r_low']:.3f}–{fit['r_high']:.3f}" in row
    assert f"{fit['r_shuffled']:.2f} ± {fit['r_shuffled_std']:.2f}" in row
    assert printed.split("by chance")[1].split()[:3] == ["0.10", "0.30", "0.50"]  # one of ten is right
    assert f" {fit['faithfulness']['share']:.2f} " in row
    assert f"given to all, reaches {fit['faithfulness']['constant']:.2f}." in " ".join(printed.split())
    assert "after another prompt" not in printed
    assert "Warning: only 50 subjects are held out" in printed


def test_a_run_writes_the_page_and_its_numbers(finished):
    folder = finished.folder / "run-report"
    page = (folder / "report.html").read_text("utf-8")
    assert all(fit["label"] in page for fit in finished.fits.values())
    kept = json.loads((folder / "report.json").read_text("utf-8"))
    assert kept["relations"] == finished.document["relations"]
    assert (folder / "scores.csv").read_text("utf-8").count("\n") == 1 + len(FITS)


def test_the_document_says_where_it_came_from(finished, toy_model):
    document = finished.document
    assert document["model"]["source"] == str(toy_model)
    assert document["title"] == f"toy on {toy_model.name}"
    assert document["subjects"]["left_out"] == {"byte": 128, "blank": 10, "special": 2}
    assert set(document["seconds"]) >= {"extract", "fit", "evaluate"}
    assert document["versions"]["torch"] == version("torch")


def test_the_verbs_one_by_one_give_what_run_gives(run, finished):
    run("extract")
    run("fit")
    assert run("evaluate")["relations"] == finished.document["relations"]
    assert Path(run("report")["report"]).is_file()
