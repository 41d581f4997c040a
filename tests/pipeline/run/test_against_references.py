"""A run's logits, maps and scores, against Hugging Face, scikit-learn and SciPy."""

from typing import Any

import numpy as np
import pytest
from scipy.linalg import lstsq
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.prompts.subjects import split_rows
from lincorr.testing import CITIES, COUNTRIES
from pipeline.evaluate import fit_scores
from tests.pipeline.run.runner import VOCABULARY, WIDTH, mean_r


def close(found: np.ndarray, right: np.ndarray, relative: float) -> None:
    """Compare to a part of the largest value."""
    np.testing.assert_allclose(found, right, rtol=0, atol=relative * np.abs(right).max())


@pytest.mark.parametrize("name", ["city", "country"])
def test_logits_are_the_models_own(name, finished, answers, ids):
    arrays = finished.arrays()
    assert arrays[f"columns/{name}/id"].tolist() == ids[name]
    np.testing.assert_allclose(arrays[f"logits/{name}"], answers[name][:, ids[name]], atol=1e-4)


def test_the_domains_map_is_that_of_scikit_learn_column_by_column(finished, answers, ids):
    x, y = (answers[name][:, ids[name]] for name in ("city", "country"))
    fitted = finished.store.maps.load("toy", "domain")
    predicted = np.empty_like(y[1::2])
    for column in range(y.shape[1]):
        model = LinearRegression().fit(x[::2], y[::2, column])
        close(fitted.block(ids["city"], ids["country"])[:, column], model.coef_, 1e-4)
        assert fitted.intercept[column] == pytest.approx(model.intercept_, rel=1e-4, abs=1e-4)
        predicted[:, column] = model.predict(x[1::2])
    agree_in_score(finished.fits["domain"], predicted, y[1::2])


def test_the_vocabularys_map_is_the_minimum_norm_one(finished, answers, ids):
    x, y = answers["city"], answers["country"][:, ids["country"]]
    mean_x, mean_y = x[::2].mean(0), y[::2].mean(0)
    weights = lstsq(x[::2] - mean_x, y[::2] - mean_y, cond=1e-10, lapack_driver="gelsd")[0]
    fitted = finished.store.maps.load("toy", "vocabulary")
    close(fitted.block(range(VOCABULARY), ids["country"]), weights, 1e-4)
    agree_in_score(finished.fits["vocabulary"], (x[1::2] - mean_x) @ weights + mean_y, y[1::2])
    assert finished.fits["vocabulary"]["rank"] == WIDTH


@pytest.mark.parametrize("source", ["domain", "vocabulary"])
def test_ridge_is_that_of_scikit_learn(source, finished, answers, ids):
    x = answers["city"] if source == "vocabulary" else answers["city"][:, ids["city"]]
    y = answers["country"][:, ids["country"]]
    fit = finished.fits[f"{source}-ridge"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    agree_in_score(fit, model.predict(x[1::2]), y[1::2])


def agree_in_score(fit: dict[str, Any], predicted: np.ndarray, true: np.ndarray) -> None:
    r = [pearsonr(predicted[:, column], true[:, column])[0] for column in range(true.shape[1])]
    assert [target["token"].strip() for target in fit["r_by_target"]] == list(COUNTRIES)
    np.testing.assert_allclose([target["r"] for target in fit["r_by_target"]], r, atol=1e-5)
    assert fit["r"] == pytest.approx(np.mean(r), abs=1e-5)
    assert fit["r_std"] == pytest.approx(np.std(r), abs=1e-5)
    rho = [spearmanr(predicted[:, column], true[:, column]).statistic for column in range(true.shape[1])]
    # two neighbours that change places move rho by 6e-5
    np.testing.assert_allclose([target["spearman"] for target in fit["r_by_target"]], rho, atol=3e-4)
    assert fit["spearman"] == pytest.approx(np.mean(rho), abs=3e-4)
    faithful = fit["faithfulness"]
    assert faithful["share"] == pytest.approx(np.mean(predicted.argmax(axis=1) == true.argmax(axis=1)))
    assert faithful["constant"] == pytest.approx(np.bincount(true.argmax(axis=1)).max() / len(true))
    drawn = np.random.default_rng(7).integers(len(true), size=(1000, len(true)))
    means = [mean_r(predicted[rows], true[rows]) for rows in drawn]
    low, high = np.percentile(means, [2.5, 97.5])
    assert (fit["r_low"], fit["r_high"]) == pytest.approx((low, high), abs=0.25 * (high - low))


def test_all_outputs_are_scored_as_if_predicted(finished, answers):
    x, y = answers["city"], answers["country"]
    fit = finished.fits["vocabulary-ridge"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    predicted, true = model.predict(x[1::2]), y[1::2]
    assert fit["r_all"] == pytest.approx(mean_r(predicted, true), abs=1e-5)
    rho = [spearmanr(predicted[:, column], true[:, column]).statistic for column in range(VOCABULARY)]
    faithful = fit["faithfulness_all"]
    assert faithful["share"] == pytest.approx(np.mean(predicted.argmax(axis=1) == true.argmax(axis=1)))
    assert faithful["subjects"] == len(true)  # fewer, too
    assert finished.fits["domain"].get("faithfulness_all") is None
    assert fit["sampled_outputs"] == VOCABULARY  # fewer than would be sampled
    assert fit["spearman_sample"] == pytest.approx(np.mean(rho), abs=1e-4)


def test_only_a_sample_of_many_outputs_is_ranked(rerun, answers, monkeypatch):
    monkeypatch.setattr(fit_scores, "SAMPLED_OUTPUTS", 5)
    fits = {fit["name"]: fit for fit in rerun("evaluate", report_sources=3)["relations"][0]["fits"]}
    fit = fits["vocabulary-ridge"]
    x, y = answers["city"], answers["country"]
    model = Ridge(alpha=fit["penalty"], solver="svd").fit(x[::2], y[::2])
    columns = np.random.default_rng(0).choice(VOCABULARY, 5, replace=False)
    predicted = model.predict(x[1::2])
    rho = [spearmanr(predicted[:, column], y[1::2, column]).statistic for column in columns]
    assert fit["sampled_outputs"] == 5
    assert fit["spearman_sample"] == pytest.approx(np.mean(rho), abs=1e-3)
    assert fits["domain"]["spearman_sample"] is None


def test_hits_are_counted_as_by_hand(finished):
    fit = finished.fits["domain"]
    weights = finished.store.maps.load("toy", "domain").weights
    order = np.argsort(-weights, axis=1)  # the right target of source i is target i
    for k in (1, 3, 5):
        right = np.mean([i in order[i, :k] for i in range(len(CITIES))])
        assert fit["hits"]["influenced target"][str(k)] == pytest.approx(right)
    centred = weights - np.array([[sum(row) / len(row)] for row in weights])
    for name, read in (("hits", centred), ("hits_as_fitted", weights)):
        order = np.argsort(-read, axis=0)
        for k in (1, 3, 5):
            right = np.mean([i in order[:k, i] for i in range(len(CITIES))])
            assert fit[name]["influencing source"][str(k)] == pytest.approx(right)
    assert fit["hits"]["influencing source"] != fit["hits_as_fitted"]["influencing source"]


def test_the_grouped_split_leaks_nothing_and_is_what_is_fitted(run, reference):
    document = run("run", subjects_split="grouped", subjects_count=236, store_shard_rows=256)
    texts = [reference.tokenizer.decode([token]).strip() for token in run.subjects()]
    fitted = run.store.maps.load("toy", "domain")
    fit, test = document["subjects"]["fit"], document["subjects"]["test"]
    assert (fitted.diagnosis.n_rows, fit + test) == (fit, 236)
    assert abs(fit - test) <= 2
    twins = [text for text in texts if texts.count(text) == 2]
    assert twins  # "Tokyo" and " Tokyo": else this says nothing

    arrays = run.arrays()
    x, y = (arrays[f"logits/{name}"].astype(float) for name in ("city", "country"))
    rows, held_out = split_rows(run.store.subjects().texts, "grouped", seed=0)
    assert {texts[i] for i in rows}.isdisjoint(texts[i] for i in held_out)
    coefficients = LinearRegression().fit(x[rows], y[rows]).coef_.T
    close(fitted.weights, coefficients, 1e-6)
