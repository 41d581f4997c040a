"""Controls of a study, against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.testing import CITIES, COUNTRIES
from tests.pipeline.study.toy_study import Study, mean_r


def test_an_unrelated_pair_is_a_fit_to_another_familys_answers(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    assert relation["unrelated_pair"]["relation"] == "dish-taste"
    fit, test = done.rows()
    x, y = done.logits("home", CITIES), done.logits("taste", CITIES[6:])
    expected = mean_r(LinearRegression().fit(x[fit], y[fit]).predict(x[test]), y[test])
    domain = next(f for f in relation["fits"] if f["name"] == "domain")
    assert domain["r_unrelated"] == pytest.approx(expected, abs=1e-4)
    whole, ridge = done.array("hidden/home") @ done.array("head/weight").T, relation["fits"][-1]
    sigma = np.linalg.svd(whole[fit] - whole[fit].mean(axis=0), compute_uv=False)[0]
    model = Ridge(alpha=(ridge["root_penalty"] * sigma) ** 2, solver="svd").fit(whole[fit], y[fit])
    assert ridge["r_unrelated"] == pytest.approx(mean_r(model.predict(whole[test]), y[test]), abs=1e-4)


def test_identity_is_the_same_tokens_logit_after_the_sources_prompt(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    _, test = done.rows()
    ids = done.ids("land", COUNTRIES)
    same = (done.array("hidden/home") @ done.array("head/weight")[ids].T)[test]
    expected = mean_r(same, done.logits("land", COUNTRIES)[test])
    assert relation["identity"]["r"] == pytest.approx(expected, abs=1e-5)
    assert relation["identity"]["columns"] == len(COUNTRIES)
