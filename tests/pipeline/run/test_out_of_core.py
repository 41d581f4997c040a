"""Runs whose fits are out of core, and settings of fits that are refused."""

import shutil

import pytest

from pipeline.cli.main import main


@pytest.mark.parametrize("method", ["dual", "lowrank", "tiled"])
def test_a_streamed_fit_of_all_logits_scores_as_the_exact_one(method, run, logits_only):
    shutil.copytree(logits_only.folder, run.folder, dirs_exist_ok=True)
    run.flags |= {"store-hidden": "false", "store-logits": "all"}
    exact = logits_only.fits["vocabulary-ridge"]
    penalty = exact["root_penalty"]
    document = run("run", fit_method=method, fit_penalty=penalty)
    fits = {fit["name"]: fit for fit in document["relations"][0]["fits"]}
    assert {fit["method"] for fit in fits.values()} == {method}
    names = ["vocabulary-ridge"] if method == "tiled" else ["vocabulary", "vocabulary-ridge"]
    assert [name for name in fits if name.startswith("vocabulary")] == names
    out_of_core = fits["vocabulary-ridge"]
    assert out_of_core["r"] == pytest.approx(exact["r"], abs=2e-3 if method == "tiled" else 1e-5)
    controls = ("r_shuffled", "r_shuffled_std")
    assert all(
        out_of_core[name] == (None if method == "tiled" else pytest.approx(exact[name], abs=1e-5))
        for name in controls
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fit_memory": 0.2}, "fit.memory: 0.2 GB is what a worker's libraries take; give it 0.7 or more"),
        ({"fit_method": "tiled", "fit_penalty": 0}, "it needs λ > 0, and fit.penalty is 0"),
        ({"fit_penalty": -1}, "fit.penalty: '-1' is refused"),
    ],
)
def test_fits_that_cannot_be_are_refused_in_one_line(changes, line, rerun, capsys):
    flags = rerun.flags | {name.replace("_", "-"): value for name, value in changes.items()}
    capsys.readouterr()
    assert main(["fit", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert line in told
