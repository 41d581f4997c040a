"""What maps predict, and how they are read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.metrics import r2_score

from lincorr.arrays import to_host
from lincorr.readout import Readout
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.spectrum import coefficients, solve
from tests.lincorr.solvers.cases import CASES, Case, Hidden, Logits, hidden, typical, with_head
from tests.lincorr.solvers.problems import dense


@pytest.mark.parametrize("root_penalty", [0.0, 0.03])
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("factored")])
def test_hidden_states_predict_what_logits_predict(xp: Any, name: str, root_penalty: float) -> None:
    case = CASES[name]
    assert isinstance(case, Hidden)
    problem = case.problem(xp)
    fitted = solve(problem, root_penalty)
    by_logits = fitted.predict(case.source)
    # the intercept cancels what the means contribute
    tolerance = 1e-12 * case.head_condition**2 * (np.abs(case.source) @ np.abs(dense(fitted))).max()
    np.testing.assert_allclose(fitted.predict_from_hidden(case.hidden_source), by_logits, atol=tolerance)


SCORED = ["direct tall", "direct wide", "factored n<d", "factored n>p", "factored bias and scale, q>d"]


@pytest.mark.parametrize("name", SCORED)
def test_moments_score_as_predictions_do(xp: Any, name: str) -> None:
    """Scored on rows that were not fitted, in blocks, against explicit predictions and SciPy."""
    case = CASES[name]
    problem = case.problem(xp)
    n = len(case.source)
    mixed = np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n)  # other rows of the same kind
    data = (
        (case.source, case.target) if isinstance(case, Logits) else (case.hidden_source, case.hidden_target)
    )
    x, y = (mixed @ part for part in data)
    cut = n // 3
    first, second = (
        CrossMoments.of(xp.asarray(x[rows]), xp.asarray(y[rows])) for rows in (slice(cut), slice(cut, n))
    )
    found = problem.score(coefficients(problem, 0.1), first.merge(second))
    fitted = solve(problem, 0.1)
    if isinstance(case, Logits):
        predicted, true = fitted.predict(x), y
    else:
        predicted, true = fitted.predict_from_hidden(x), np.asarray(case.target_head.logits(y))
    expected = scipy.stats.pearsonr(predicted, true, axis=0).statistic
    np.testing.assert_allclose(to_host(found.pearson()), expected, atol=1e-9)
    r2 = r2_score(true, predicted, multioutput="raw_values")
    np.testing.assert_allclose(to_host(found.r2()), r2, rtol=1e-6, atol=1e-9)


def test_other_targets_need_no_new_decomposition() -> None:
    case = CASES["factored n>p"]
    assert isinstance(case, Hidden)
    other = Readout(np.random.default_rng(5).standard_normal((3, case.target_head.weight.shape[1])))
    fitted = solve(case.problem().for_targets(other, np.arange(3)), 0.1)
    alone = solve(replace(case, target_head=other).problem(), 0.1)
    np.testing.assert_allclose(dense(fitted), dense(alone), rtol=1e-10, atol=1e-12)


@typical
def test_rows_of_the_weights_come_without_the_others(xp: Any, case: Case) -> None:
    problem = case.problem(xp)
    rows = problem.rows(coefficients(problem, 0.1), np.array([4, 0]))
    np.testing.assert_allclose(to_host(rows), dense(solve(problem, 0.1))[[4, 0]], rtol=1e-9, atol=1e-12)


def test_a_map_fitted_from_logits_takes_no_hidden_states() -> None:
    with pytest.raises(ValueError, match="fitted from logits"):
        solve(CASES["direct tall"].problem()).predict_from_hidden(np.zeros((1, 3)))


def test_a_soft_capped_head_is_refused() -> None:
    case = hidden(20, 4, 10)
    with pytest.raises(ValueError, match="soft-capped"):
        with_head(case, case.source_head.weight, softcap=30.0).problem()


# --- reading a map ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["direct wide", "factored q>d"])
def test_blocks_and_strongest_are_those_of_the_dense_weights(name: str) -> None:
    fitted = solve(CASES[name].problem())
    weights = dense(fitted)
    np.testing.assert_allclose(fitted.block([7, 2], [3, 0, 1]), weights[np.ix_([7, 2], [3, 0, 1])])
    assert [i for i, _ in fitted.strongest_targets(6, 3)] == np.argsort(-weights[6])[:3].tolist()
    assert [i for i, _ in fitted.strongest_sources(2, 3)] == np.argsort(-weights[:, 2])[:3].tolist()


def test_an_unknown_token_is_named() -> None:
    with pytest.raises(KeyError, match="token 999 is not a source"):
        solve(CASES["direct tall"].problem()).block([999], [0])
