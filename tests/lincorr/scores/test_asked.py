"""The ceiling: the best of what the model says when it is asked outright."""

import math
from dataclasses import replace

import pytest

from lincorr.scores.asked import Ceiling, ceiling, share_known
from lincorr.scores.dataset import scores_dataset
from lincorr.scores.relation_scores import INFLUENCED_TARGET, INFLUENCING_SOURCE, AskedScores, HitRates, Hits
from pipeline.study.families import family_summary
from tests.scores import NO_SHARES, scored


def rates(share: float | None) -> HitRates:
    return HitRates(share, None, None, of=9, chance=NO_SHARES)


def asked(text: str, target: float | None, source: float | None, calibrated: float | None) -> AskedScores:
    examples = (("Rome", "Italy"), ("Oslo", "Norway")) if text.startswith("after") else ()
    return AskedScores(text, examples, Hits(rates(target), rates(source)), rates(calibrated))


MANY = (asked("{} is in", 0.5, 0.25, 0.75), asked("after {} is in", 0.625, 0.875, 0.625))


def test_the_ceiling_is_the_best_reading_and_says_of_how_many():
    assert ceiling(MANY, INFLUENCED_TARGET) == Ceiling(0.75, "{} is in", 0, calibrated=True, best_of=4)
    assert ceiling(MANY, INFLUENCING_SOURCE) == Ceiling(0.875, "after {} is in", 2, False, best_of=2)


@pytest.mark.parametrize("nothing", [None, (), (asked("{} is in", None, None, None),)])
def test_where_nothing_was_asked_there_is_none(nothing):
    assert ceiling(nothing, INFLUENCED_TARGET) is None
    assert share_known(0.5, ceiling(nothing, INFLUENCED_TARGET)) is None


def test_the_share_of_what_the_model_knows():
    best = ceiling(MANY, INFLUENCED_TARGET)
    assert share_known(0.375, best) == 0.5
    assert share_known(None, best) is None
    assert share_known(0.1, ceiling((asked("{}", 0.0, 0.0, 0.0),), INFLUENCED_TARGET)) is None


def test_ceilings_of_relations_have_a_place_in_datasets_and_a_mean_in_families():
    few = (asked("{} is in", 0.25, None, 0.125),)
    relations = [
        replace(scored("a", 0.5, 0.2), asked=MANY),
        replace(scored("b", 0.5, 0.2), asked=few),
        scored("c", 0.5, 0.2),
    ]
    found = scores_dataset(relations).ceiling.sel(direction=INFLUENCED_TARGET)
    assert found.values[:2].tolist() == [0.75, 0.25]
    assert math.isnan(found.values[2])
    assert family_summary("f", relations).ceilings == {INFLUENCED_TARGET: 0.5, INFLUENCING_SOURCE: 0.875}
    assert family_summary("f", relations[2:]).ceilings is None
