"""More subjects, against scikit-learn count by count."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.scores.study import GrowthPoint
from lincorr.testing import CITIES, COUNTRIES
from pipeline.study.families import (
    growth_by_family,
)
from pipeline.study.growth import steps
from tests.pipeline.study.toy_study import COUNTS, SUBJECTS, Study, mean_r
from tests.scores import hits, scored


def test_steps_are_nested_and_end_with_all_subjects() -> None:
    rows, fit = np.arange(100, 140), np.arange(0, 40, 2)
    taken = steps(rows, fit, (4, 20, 30, 40, 400))
    assert [step.subjects for step in taken] == [20, 30, 40]  # of the first 4 only 2 are fitted
    assert [len(step.rows) for step in taken] == [10, 15, 20]
    for before, after in pairwise(taken):
        assert set(before.rows) < set(after.rows)
    assert taken[-1].rows.tolist() == rows[fit].tolist()


@pytest.mark.parametrize("count", [*COUNTS, SUBJECTS])
def test_growth_is_a_fit_of_the_first_subjects_scored_on_the_same_rows(done: Study, count: int) -> None:
    [grown] = [g for g in done.document["study"]["growth"] if g["relation"] == "home-land"]
    points = {p["fit"]: p for p in grown["points"] if p["subjects"] == count}
    fit, test = done.rows(count)
    x, y = done.logits("home", CITIES), done.logits("land", COUNTRIES)
    model = LinearRegression().fit(x[fit], y[fit])
    assert points["domain"]["fitted"] == len(fit)
    assert points["domain"]["r"] == pytest.approx(mean_r(model.predict(x[test]), y[test]), abs=1e-4)
    strongest = model.coef_.T.argsort(axis=1)[:, ::-1]
    hits = points["domain"]["hits"]["influenced target"]
    for k in (1, 3, 5):
        assert hits[str(k)] == np.mean([i in row[:k] for i, row in enumerate(strongest)])
    whole, head = done.array("hidden/home") @ done.array("head/weight").T, points["vocabulary-ridge"]
    sigma = np.linalg.svd(whole[fit] - whole[fit].mean(axis=0), compute_uv=False)[0]
    ridge = Ridge(alpha=(head["root_penalty"] * sigma) ** 2, solver="svd").fit(whole[fit], y[fit])
    assert head["r"] == pytest.approx(mean_r(ridge.predict(whole[test]), y[test]), abs=1e-4)
    weights = ridge.coef_.T[done.ids("home", CITIES)]
    of_cities = (weights - weights.mean(axis=1)[:, None]).argsort(axis=0)[::-1]
    back = head["hits"]["influencing source"]
    for k in (1, 3, 5):
        assert back[str(k)] == np.mean([j in of_cities[:k, j] for j in range(len(COUNTRIES))])


def test_the_last_step_is_the_relations_own_fits(done: Study) -> None:
    for relation in done.document["relations"]:
        [grown] = [g for g in done.document["study"]["growth"] if g["relation"] == relation["name"]]
        last = {p["fit"]: p for p in grown["points"] if p["subjects"] == SUBJECTS}
        for fit in relation["fits"]:
            assert last[fit["name"]]["r"] == pytest.approx(fit["r"], abs=1e-4)


def test_growth_of_a_family_is_the_mean_over_its_relations() -> None:
    relations = [scored("a", 0.1, 0.1), scored("b", 0.1, None), scored("c", 0.1, None, family="g")]
    point = GrowthPoint(9, 5, "domain", 0.0, r=0.2, r_std=0.1, hits=hits(0.5, of=3))
    points = {"a": [point], "b": [replace(point, r=0.4, hits=None)]}
    [found] = growth_by_family(relations, points)
    assert (found.family, found.relations) == ("f", 2)
    assert found.points[0].r == pytest.approx(0.3)
    assert found.points[0].hit("influenced target", 1) == 0.5
