"""Gradient correlations of a toy model through the command line, against torch and SciPy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from transformers import AutoModelForCausalLM, AutoTokenizer

from lincorr.scores.documents import to_json
from lincorr.scores.experiments import GradientFit
from lincorr.store.store import LogitStore
from lincorr.testing import CITIES, COUNTRIES
from pipeline.cli.main import main
from pipeline.evaluate.experiments import stored_gradients
from pipeline.experiments import gradients as measured
from pipeline.experiments.copies import pearson
from pipeline.experiments.gradients import Correlations, GradientOptions, gradient_scores
from tests.pipeline.experiments.finished import TEXTS, finished_run


@pytest.fixture(scope="module")
def flags(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("gradients")
    relations = {
        "toy": {
            "source": {"template": "city", "answers": list(CITIES)},
            "target": {"template": "country", "answers": list(COUNTRIES)},
        },
        "same": {
            "source": {"template": "city", "answers": list(CITIES)},
            "target": {"template": "city", "answers": list(CITIES)},
        },
    }
    return finished_run(folder, toy_model, relations, "toy", "same")


@pytest.fixture
def gradients(flags: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    def gradients(*more: object) -> list[dict[str, Any]]:
        capsys.readouterr()
        arguments = ["--subjects", 2, "--targets", 3, "--entries", 10**9, *more]
        assert main(["gradients", *flags, *map(str, arguments), "--json"]) == 0
        document: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return document

    return gradients


def test_it_is_the_correlation_of_whole_gradients(
    gradients: Callable[..., list[dict[str, Any]]],
    flags: list[str],
    toy_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gradient of every single source logit, times W: all that the product hides."""
    correlate = mock.Mock(side_effect=measured.correlate)
    monkeypatch.setattr(measured, "correlate", correlate)
    [found] = gradients()
    store = LogitStore.open(flags[flags.index("--store") + 1])
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    model = AutoModelForCausalLM.from_pretrained(toy_model, dtype=torch.float32)
    weights = [weight for name, weight in model.named_parameters() if ".layers." in name]

    def of_logits(prompt: list[int], tokens: np.ndarray) -> np.ndarray:
        logits = model(torch.tensor([prompt])).logits[0, -1]
        rows = [torch.autograd.grad(logits[int(t)], weights, retain_graph=True) for t in tokens]
        return np.array([np.concatenate([g.flatten().numpy() for g in row]) for row in rows])

    for fit in found["fits"]:
        kept = store.maps.load("toy", fit["name"])
        same = []
        for [task], _ in correlate.call_args_list:
            subject = int(store.subjects().ids[task.row])
            source, target = (
                [subject, *tokenizer.encode(text.removeprefix("{}"))] for text in TEXTS.values()
            )
            w = kept.block(kept.source_ids.tolist(), list(task.targets))
            predicted = w.T @ of_logits(source, kept.source_ids)
            true = of_logits(target, np.array(task.targets))
            same.append([pearsonr(p, t).statistic for p, t in zip(predicted, true, strict=True)])
        expected = np.mean(same, axis=0)
        assert fit["r"] == pytest.approx(expected.mean(), abs=2e-3)
        assert fit["r_std"] == pytest.approx(expected.std(), abs=2e-3)
    assert [fit["name"] for fit in found["fits"]] == [
        "domain",
        "domain-ridge",
        "vocabulary",
        "vocabulary-ridge",
    ]


def test_a_prompts_gradients_follow_their_own_map(gradients: Callable[..., list[dict[str, Any]]]) -> None:
    """From a prompt to itself W is the identity, so that gradients agree, and others do less."""
    [found] = gradients("--relations", "same")
    domain = found["fits"][0]
    assert domain["r"] == pytest.approx(1, abs=1e-4)
    assert domain["r_other_target"] < 0.9


def test_what_is_kept_is_read(
    gradients: Callable[..., list[dict[str, Any]]], flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gradients()
    monkeypatch.setattr(measured, "correlate", lambda task: pytest.fail("it was made again"))
    assert gradients() == first
    store = LogitStore.open(flags[flags.index("--store") + 1])
    assert to_json(stored_gradients(store, ["nothing", "toy"])) == first


def test_what_other_maps_showed_is_not_what_is_kept(
    gradients: Callable[..., list[dict[str, Any]]], flags: list[str]
) -> None:
    store = LogitStore.open(flags[flags.index("--store") + 1])
    first = gradients()
    try:
        assert main(["fit", *flags, "--fit-penalty", "0.5"]) == 0
        assert stored_gradients(store, ["toy"]) == []
    finally:
        assert main(["fit", *flags]) == 0
    assert to_json(stored_gradients(store, ["toy"])) == first


def test_workers_find_the_same(gradients: Callable[..., list[dict[str, Any]]]) -> None:
    first = gradients()[0]["fits"]
    gradients("--subjects", 1)
    again = gradients("--cluster-kind", "local")[0]["fits"]
    assert [fit["r"] for fit in again] == pytest.approx([fit["r"] for fit in first], rel=1e-4)


def test_too_many_subjects_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradients", *flags, "--subjects", "31"]) == 2
    assert "--subjects: 31 are asked for and 30 are held out" in capsys.readouterr().err


def test_the_table_shows_the_paper(
    flags: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["gradients", *flags, "--subjects", "1", "--targets", "2", "--entries", "500"]) == 0
    assert "other target" in capsys.readouterr().out
    # a target whose column of W is zero has no r
    one = Correlations({"domain": [0.25, 0.75, np.nan]}, {"domain": 0.1})
    two = Correlations({"domain": [0.75, 0.75, np.nan]}, {"domain": 0.3})
    found = gradient_scores("city-country", [one, two], GradientOptions())
    assert found.fits == (GradientFit("domain", r=0.625, r_std=0.125, r_other_target=0.2),)
    assert found.paper == 0.79


def test_rows_are_correlated_with_rows() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 3, 50)) + 5
    expected = np.corrcoef(a, b)[:3, 3:]
    np.testing.assert_allclose(pearson(a, b), expected, atol=1e-12)
    assert np.isnan(pearson(np.ones((1, 4)), b[:1, :4])).all()
