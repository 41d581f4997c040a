"""Controls of a run, against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from tests.pipeline.run.runner import TEMPLATES, mean_r


@pytest.mark.parametrize("name", ["domain", "domain-ridge", "vocabulary-ridge"])
def test_shuffled_targets_are_fitted_as_by_scikit_learn(name, finished, answers, ids):
    x = answers["city"][:, ids["city"]] if name.startswith("domain") else answers["city"]
    y = answers["country"][:, ids["country"]]
    fit, rng, found = finished.fits[name], np.random.default_rng(0), []
    for _ in range(8):
        order = rng.permutation(50)
        model = Ridge(alpha=fit["penalty"], solver="svd") if fit["penalty"] else LinearRegression()
        model.fit(x[::2], y[::2][order])
        found.append(mean_r(model.predict(x[1::2]), y[1::2]))
    assert fit["r_shuffled"] == pytest.approx(np.mean(found), abs=1e-4)
    assert fit["r_shuffled_std"] == pytest.approx(np.std(found), abs=1e-4)


def test_one_number_a_subject_is_a_source_of_its_own(finished, answers, ids):
    y = answers["country"][:, ids["country"]]
    for name, x in (("domain", answers["city"][:, ids["city"]]), ("vocabulary-ridge", answers["city"])):
        mean = x.mean(axis=1, keepdims=True)
        predicted = LinearRegression().fit(mean[::2], y[::2]).predict(mean[1::2])
        r = finished.fits[name]["r_mean_logit"]
        assert r == pytest.approx(mean_r(predicted, y[1::2]), abs=1e-4)


def test_another_relations_prompt_is_a_control(rerun, reference, answers, ids):
    document = rerun("run", relations="toy,second")
    toy, second = document["relations"]
    assert toy["other_prompt"] == {"relation": "second", "template": "late", "text": TEMPLATES["late"]}
    assert second["other_prompt"] == {
        "relation": "toy",
        "template": "country",
        "text": TEMPLATES["country"],
    }
    rest = reference.tokenizer.encode("in the city of")
    late = reference.logits([[*rest, token] for token in rerun.subjects()])[:, ids["country"]]
    for fit in toy["fits"]:
        x = answers["city"][:, ids["city"]] if fit["name"].startswith("domain") else answers["city"]
        if fit["name"] != "vocabulary":  # whose minimum norm scikit-learn's cutoff does not give
            model = Ridge(alpha=fit["penalty"], solver="svd") if fit["penalty"] else LinearRegression()
            predicted = model.fit(x[::2], late[::2]).predict(x[1::2])
            assert fit["r_other_prompt"] == pytest.approx(mean_r(predicted, late[1::2]), abs=1e-4)


def test_without_another_relation_there_is_no_other_prompt(finished):
    assert finished.document["relations"][0]["other_prompt"] is None
    assert {fit["r_other_prompt"] for fit in finished.fits.values()} == {None}
