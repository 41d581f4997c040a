"""Families, wordings and the paper's figures, against SciPy."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from lincorr.scores.experiments import GradientFit, GradientScores
from lincorr.scores.relation_scores import INFLUENCED_TARGET, INFLUENCING_SOURCE
from pipeline.study.families import (
    beside_paper,
    first_wording,
    interval_over,
    paraphrases_of,
)
from pipeline.study.study import study_of
from tests.pipeline.study.toy_study import CATALOGUE, FAMILY, Study
from tests.scores import scored


def test_a_family_is_the_mean_of_its_first_wordings(done: Study) -> None:
    families = {family["family"]: family for family in done.document["study"]["families"]}
    assert {name: family["relations"] for name, family in families.items()} == {
        "places": ["home-land", "home-late"],
        FAMILY: ["dish-taste"],
    }
    own = [r for r in done.document["relations"] if r["name"] in families["places"]["relations"]]
    for fit in families["places"]["fits"]:
        r = [f["r"] for relation in own for f in relation["fits"] if f["name"] == fit["name"]]
        assert (fit["r"], fit["r_std"]) == (pytest.approx(np.mean(r)), pytest.approx(np.std(r)))
        assert fit["hits"]["influenced target"]["of"] == 1  # only one has a truth
        assert (fit["r_low"], fit["r_high"]) == (None, None)  # of two relations nothing can be said
    [alone] = [fit for fit in families[FAMILY]["fits"] if fit["name"] == "domain"]
    assert (alone["relations"], alone["r_std"]) == (1, None)
    assert families["places"]["coverage"]["source"] == {"whole": 1.0, "phrase": 0.0, "subword": 0.0}


def test_the_interval_over_relations_is_scipys() -> None:
    values = [0.2, 0.5, 0.55, 0.7, 0.9]
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval_over(values) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert interval_over(values[:2]) == (None, None)


def test_a_familys_hit_rates_have_an_interval_over_relations() -> None:
    shares = [0.2, 0.5, 0.55, 0.9]
    [fit] = study_of([scored(f"r{i}", 0.5, share) for i, share in enumerate(shares)]).families[0].fits
    assert fit.hit_interval(INFLUENCED_TARGET, 1) == interval_over(shares)
    assert fit.hit_interval(INFLUENCING_SOURCE, 1) == (None, None)
    [few] = study_of([scored("a", 0.5, 0.2), scored("b", 0.5, 0.4)]).families[0].fits
    assert few.hit_interval(INFLUENCED_TARGET, 1) == (None, None)


def test_wordings_of_a_relation_are_set_side_by_side(done: Study) -> None:
    [found] = done.document["study"]["paraphrases"]
    both = [r for r in done.document["relations"] if r["name"].startswith("home-land")]
    assert found["relation"] == "home-land"
    assert [texts[0] for texts in found["wordings"]] == [
        CATALOGUE["templates"]["home"],
        CATALOGUE["paraphrases"]["home"][0],
    ]
    for fit in found["fits"]:
        r = [f["r"] for relation in both for f in relation["fits"] if f["name"] == fit["name"]]
        assert fit["r"]["mean"] == pytest.approx(np.mean(r))
        assert fit["r"]["std"] == pytest.approx(np.std(r))
        assert (fit["r"]["lowest"], fit["r"]["highest"]) == (min(r), max(r))
    assert paraphrases_of([scored("home-land", 0.5, None), scored("home-late", 0.5, None)]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-b.2", "a-b"),
        ("a-b.2-3", "a-b"),
        ("a-b", "a-b"),
        ("c.2", "c.2"),  # c itself is not there
        ("c.2-3", "c.2-3"),
        ("v1.x", "v1.x"),
    ],
)
def test_only_a_number_behind_a_known_name_is_a_further_wording(name: str, expected: str) -> None:
    assert first_wording(name, ["a-b", "a-b.2", "c.2", "v1", "v1.x"]) == expected


def test_the_papers_figures_stand_beside_ours_of_the_same_measure() -> None:
    rows = beside_paper([scored("city-country", 0.8, 0.3), scored("mine", 0.5, 0.1)])
    assert {row.relation for row in rows} == {"city-country"}
    of = {row.measure: row for row in rows}
    assert (of["pearson"].paper, of["pearson"].ours) == (0.89, {"domain": 0.8})
    assert (of["influenced target@1"].paper, of["influenced target@1"].ours) == (0.42, {"domain": 0.3})
    assert of["pearson"].model == "llama-3-8b"
    assert "generalisation" not in of  # a study does not measure it
    assert "influencing source@1" not in of  # nor has this fit that direction


def test_gradient_correlations_stand_beside_the_papers() -> None:
    stored = [GradientScores("city-country", {}, 8, (GradientFit("domain", 0.7, 0.1, 0.2),), None, {})]
    rows = beside_paper([scored("city-country", 0.8, 0.3), scored("ceo-company", 0.5, 0.1)], stored)
    found = {row.relation: row for row in rows if row.measure == "gradient"}
    assert set(found) == {"city-country"}
    assert (found["city-country"].paper, found["city-country"].ours) == (0.79, {"domain": 0.7})


def test_edits_that_are_kept_stand_beside_precision(done: Study) -> None:
    found = done.document["study"]["generalisation"]
    assert [row["success"] for row in found["relations"]] == [0.5, 0.25]
    scores = done.document["relations"][0]["fits"][0]
    expected = {"hit1": scores["hits"]["influenced target"]["1"], "r": scores["r"]}
    assert found["relations"][0]["fits"]["domain"] == expected
    ranked = found["fits"]["domain"]
    assert ranked["relations"] == 1  # too few for any rank correlation
    assert {value for key, value in ranked.items() if key != "relations"} == {None}
    assert study_of([scored("home-land", 0.5, 0.5)]).generalisation is None
