"""Faithfulness, against argmax of whole matrices."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lincorr.scores.bootstrap import row_counts
from lincorr.scores.faithfulness import (
    FAITHFULNESS,
    Answers,
    BothAnswers,
    Faithfulness,
    faithfulness_figures,
)

Floats = NDArray[np.float64]


@pytest.fixture
def own() -> Floats:
    """Logits (300, 23) of whole numbers, so that many a row has its largest more than once."""
    rng = np.random.default_rng(0)
    logits: Floats = rng.integers(0, 6, size=(300, 23)).astype(float)
    logits[:, 4] += 2.0  # the model's most frequent answer, and that of the mean
    return logits


@pytest.fixture
def predicted(own: Floats) -> Floats:
    """The same with noise."""
    noise: Floats = np.random.default_rng(1).normal(scale=1.5, size=own.shape)
    return own + noise


def scored(predicted: Floats, own: Floats, panels: list[int]) -> Faithfulness:
    both = BothAnswers()
    for x, y in zip(np.split(predicted, panels, axis=1), np.split(own, panels, axis=1), strict=True):
        both.add(x, y)
    return both.score(row_counts(len(own)))


@pytest.mark.parametrize("panels", [[], [1], [7, 8, 20]])
def test_answers_over_panels_are_those_of_the_whole(own: Floats, panels: list[int]) -> None:
    answers = Answers()
    for panel in np.split(own, panels, axis=1):
        answers.add(panel)
    assert answers.columns().tolist() == own.argmax(axis=1).tolist()


@pytest.mark.parametrize("panels", [[], [7, 8, 20]])
def test_it_is_the_share_of_equal_answers(own: Floats, predicted: Floats, panels: list[int]) -> None:
    found = scored(predicted, own, panels)
    answers, theirs = own.argmax(axis=1), predicted.argmax(axis=1)
    share = sum(int(a) == int(b) for a, b in zip(answers, theirs, strict=True)) / len(own)
    assert found.share == pytest.approx(share)
    assert found.subjects == 300
    constants = [np.mean(answers == column) for column in range(own.shape[1])]
    assert found.constant == pytest.approx(max(constants))
    assert found.mean == pytest.approx(constants[own.mean(axis=0).argmax()])
    half = 1.96 * np.sqrt(share * (1 - share) / len(own))  # of a binomial share
    assert found.low == pytest.approx(share - half, abs=0.3 * half)
    assert found.high == pytest.approx(share + half, abs=0.3 * half)


def test_the_mean_may_answer_worse_than_the_best_constant() -> None:
    own = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [50.0, 0.0, 0.0]])
    found = scored(own, own, [2])
    assert (found.share, found.low, found.high) == (1.0, 1.0, 1.0)
    assert found.constant == pytest.approx(2 / 3)
    assert found.mean == pytest.approx(1 / 3)


def test_tables_have_a_name_for_each_figure() -> None:
    found = faithfulness_figures(Faithfulness(0.8, 0.7, 0.9, 0.4, 0.3, 100), None)
    assert list(found) == list(FAITHFULNESS)
    assert (found["faithfulness_high"], found["faithfulness_mean"]) == (0.9, 0.3)
    assert found["faithfulness_all"] is None
