"""Which prompt may serve as a control, and what one number a subject predicts."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression

from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from pipeline.evaluate.controls import line_r, other_prompt, unrelated_pair
from pipeline.fit.inputs import FitInputs
from pipeline.prepare.relations import RelationInputs


def columns(ids: list[int]) -> Columns:
    words = tuple(f" {token}" for token in ids)
    return Columns(np.array(ids), words, words, (True,) * len(ids), {})


def relation(name: str, family: str, source: str, target: str) -> RelationInputs:
    asked, answered = (Side(Template(part, f"{part}: {{}}"), ()) for part in (source, target))
    return RelationInputs(Relation(name, family, asked, answered, ()), columns([4, 9]), columns([4, 9]), {})


def store(*, hidden: bool = True, **kept: list[int]) -> Any:
    return SimpleNamespace(
        identity=SimpleNamespace(hidden=hidden), column_ids=lambda name: np.array(kept.get(name, []))
    )


MINE = relation("mine", "places", "city", "country")
KIN = relation("kin", "places", "city", "continent")
ALIEN = relation("alien", "food", "dish", "taste")
HALF = relation("half", "food", "dish", "country")
SAME = relation("same", "places", "country", "city")
REWORDED = relation("mine.2", "places", "city.2", "country.2")


def _renamed() -> RelationInputs:
    """Our target prompt under another name, and in another family."""
    words = MINE.relation.target.template.text
    other = ALIEN.relation
    return replace(ALIEN, relation=replace(other, target=Side(Template("nation", words), ())))


RENAMED = _renamed()


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], None),
        ([KIN], ("kin", "continent")),
        ([KIN, ALIEN], ("alien", "taste")),  # of another family, though named later
        ([ALIEN, KIN], ("alien", "taste")),
        ([HALF], ("half", "dish")),  # its target is ours
        ([SAME], None),  # the same two prompts
        ([REWORDED], None),  # in other words
        ([REWORDED, KIN], ("kin", "continent")),
        ([RENAMED], ("alien", "dish")),  # its target is ours in all but its name
    ],
)
def test_a_prompt_of_another_family_is_preferred(
    others: list[RelationInputs], expected: tuple[str, str] | None
) -> None:
    inputs = FitInputs(MINE, np.arange(3), np.arange(3), {}, 10, None)
    found = other_prompt(store(), inputs, [MINE, *others])
    assert (found and (found.relation, found.inputs.target_template)) == expected
    if found:
        assert found.inputs.source_template == "city"
        assert found.inputs.relation.target is MINE.target  # the tokens stay


def answering(inputs: RelationInputs, ids: list[int]) -> RelationInputs:
    """The same relation with other target columns."""
    return replace(inputs, target=columns(ids))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], None),
        ([KIN], None),  # of the same family
        ([HALF], None),  # its target prompt is ours
        ([RENAMED], None),
        ([ALIEN], "alien"),
        ([ALIEN, answering(relation("third", "math", "plus", "minus"), [7, 8])], "third"),  # no token of ours
        ([ALIEN, answering(relation("third", "math", "plus", "minus"), [8, 9])], "alien"),
    ],
)
def test_an_unrelated_pair_has_another_familys_prompt_and_answers(
    others: list[RelationInputs], expected: str | None
) -> None:
    found = unrelated_pair(FitInputs(MINE, np.arange(3), np.arange(3), {}, 10, None), [MINE, *others])
    assert (found and found.relation) == expected
    if found:
        other = next(other for other in others if other.name == expected)
        assert found.inputs.source_template == "city"
        assert found.inputs.target_template == other.relation.target.template.name
        assert found.inputs.relation.target is other.target


def test_without_hidden_states_the_prompts_logits_must_be_kept() -> None:
    inputs = FitInputs(MINE, np.arange(3), np.arange(3), {}, 10, None)
    assert other_prompt(store(hidden=False, taste=[4]), inputs, [MINE, ALIEN]) is None
    found = other_prompt(store(hidden=False, dish=[1, 4, 9]), inputs, [MINE, ALIEN])
    assert found is not None
    assert found.inputs.target_template == "dish"


def test_a_line_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(60) + 5
    y = np.outer(x, [1.0, -2.0, 0.1]) + rng.standard_normal((60, 3))
    predicted = LinearRegression().fit(x[:30, None], y[:30]).predict(x[30:, None])
    expected = np.mean(pearsonr(predicted, y[30:], axis=0).statistic)
    assert line_r(x[:30], y[:30], x[30:], y[30:]) == pytest.approx(expected)
