"""What a store holds: all logits or some, hidden states or none, either precision."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.main import main
from tests.pipeline.run.runner import FITS, VOCABULARY, WIDTH, Runner, runner
from tests.plots import blank_plots


def test_all_logits(run, answers):
    run("extract", store_logits="all")
    arrays = run.arrays()
    assert arrays["logits/city"].shape == (100, VOCABULARY)
    np.testing.assert_allclose(arrays["logits/city"], answers["city"], atol=1e-4)


def test_logits_are_those_of_the_kept_hidden_states_and_head(finished, ids):
    arrays = finished.arrays()
    made = arrays["hidden/city"].astype(float) @ arrays["head/weight"][ids["city"]].astype(float).T
    np.testing.assert_allclose(arrays["logits/city"], made, atol=1e-4)


def test_float16(run, answers, ids):
    document = run("run", store_precision="float16")
    arrays = run.arrays()
    assert arrays["logits/city"].dtype == arrays["hidden/country"].dtype == np.float16
    right = answers["city"][:, ids["city"]]
    np.testing.assert_allclose(arrays["logits/city"], right, rtol=1e-3, atol=1e-3)
    assert [fit["name"] for fit in document["relations"][0]["fits"]] == FITS


@pytest.fixture(scope="module")
def without_hidden(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Runner:
    run = runner(tmp_path_factory.mktemp("without-hidden"), toy_model)
    run.flags["store-hidden"] = "false"
    with blank_plots():
        run.document = run("run")
    return run


def test_without_hidden_states_only_the_domain_is_fitted(without_hidden, finished):
    assert list(without_hidden.fits) == FITS[:2]
    assert not any(name.startswith(("hidden", "head")) for name in without_hidden.arrays())
    assert without_hidden.fits["domain"]["r"] == pytest.approx(finished.fits["domain"]["r"], abs=1e-5)


def test_without_hidden_states_there_is_a_page(without_hidden):
    page = (without_hidden.folder / "run-report" / "report.html").read_text("utf-8")
    assert without_hidden.fits["domain-ridge"]["label"] in page
    assert "full vocabulary, ridge" not in page


def test_without_hidden_states_other_columns_are_refused(without_hidden, capsys):
    flags = without_hidden.flags | {"relations": "second"}
    assert main(["run", *(f"--{name}={value}" for name, value in flags.items())]) == 2
    assert "has no logits of 3 of the answers to template 'city'" in capsys.readouterr().err


def test_all_logits_without_hidden_states_fit_the_vocabulary_too(logits_only, finished):
    methods = {run.fits["vocabulary"]["method"] for run in (logits_only, finished)}
    assert methods == {"direct", "factored"}
    ridge = logits_only.fits["vocabulary-ridge"], finished.fits["vocabulary-ridge"]
    assert ridge[0]["r"] == pytest.approx(ridge[1]["r"], abs=1e-4)


def test_all_logits_without_hidden_states_have_the_rank_of_the_width(logits_only):
    assert logits_only.fits["vocabulary"]["rank"] == WIDTH
