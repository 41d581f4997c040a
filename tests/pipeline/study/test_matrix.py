"""Every prompt to every other, against scikit-learn pair by pair."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from lincorr.solvers.spectrum import READING_SHARE, ROOT_PENALTIES
from lincorr.testing import CITIES, COUNTRIES
from pipeline.study.matrix import matrix_name
from tests.pipeline.study.toy_study import FAMILY, Study, mean_r


def matrix_of(done: Study, family: str, fit: str) -> tuple[list[str], np.ndarray]:
    [found] = [m for m in done.document["study"]["matrices"] if m["family"] == family and m["fit"] == fit]
    return [t["name"] for t in found["templates"]], np.array(found["r"], dtype=float)


ANSWERS = {"home": CITIES, "land": COUNTRIES, "late": CITIES[:7], "dish": CITIES[:6], "taste": CITIES[6:]}


@pytest.mark.parametrize(("family", "size"), [("places", 3), (FAMILY, 2)])
def test_the_domains_matrix_is_scikit_learns_pair_by_pair(done: Study, family: str, size: int) -> None:
    names, found = matrix_of(done, family, "domain")
    fit, test = done.rows()
    assert len(names) == size  # a further wording ("home.2") is no prompt of its own here
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            if i == j:
                assert np.isnan(found[i, j])
                continue
            x, y = (done.logits(name, ANSWERS[name]) for name in (source, target))
            predicted = LinearRegression().fit(x[fit], y[fit]).predict(x[test])
            assert found[i, j] == pytest.approx(mean_r(predicted, y[test]), abs=1e-4)


def test_the_vocabularys_matrix_is_ridge_at_the_penalty_that_leaving_out_each_row_chooses(
    done: Study,
) -> None:
    names, found = matrix_of(done, "places", "vocabulary-ridge")
    fit, test = done.rows()
    x, y = done.array("hidden/home") @ done.array("head/weight").T, done.logits("land", COUNTRIES)
    sigma = np.linalg.svd(x[fit] - x[fit].mean(axis=0), compute_uv=False)[0]

    def predict(rows: np.ndarray, asked: np.ndarray, root: float) -> np.ndarray:
        """Ridge from the products between rows, refitted for every set of them."""
        mean_x, mean_y = x[rows].mean(axis=0), y[rows].mean(axis=0)
        centred = x[rows] - mean_x
        kernel = centred @ centred.T + (root * sigma) ** 2 * np.eye(len(rows))
        right = y[rows] - mean_y
        # without a penalty the products have the rank of the model's width: minimum norm
        dual = (
            np.linalg.solve(kernel, right) if root else np.linalg.pinv(kernel, 1e-10, hermitian=True) @ right
        )
        return np.asarray((x[asked] - mean_x) @ centred.T @ dual + mean_y)

    scores = {}
    for root in ROOT_PENALTIES:
        left_out = [predict(np.delete(fit, i), fit[i : i + 1], root)[0] for i in range(len(fit))]
        scores[root] = mean_r(np.array(left_out), y[fit])
    reading = max(root for root, r in scores.items() if r >= READING_SHARE * max(scores.values()))
    expected = mean_r(predict(fit, test, reading), y[test])
    assert found[names.index("home"), names.index("land")] == pytest.approx(expected, abs=1e-4)


def test_a_matrix_agrees_with_the_relations_own_fit(done: Study) -> None:
    [relation] = [r for r in done.document["relations"] if r["name"] == "home-land"]
    for fit in relation["fits"]:
        if fit["name"] in ("domain", "vocabulary-ridge"):
            names, found = matrix_of(done, "places", fit["name"])
            assert found[names.index("home"), names.index("land")] == pytest.approx(fit["r"], abs=1e-4)


def test_families_share_no_name_in_a_store() -> None:
    families = [
        "food",
        "food more",
        "food-more",
        "food & more",
        "food.more",
        "-food",
        "ville",
        "città",
        "&",
        "都市",
        "",
    ]
    names = {matrix_name(family) for family in families}
    assert len(names) == len(families)
    assert matrix_name("food") == "food--matrix"
    assert all(name.isascii() and "/" not in name and name[0].isalnum() for name in names)
