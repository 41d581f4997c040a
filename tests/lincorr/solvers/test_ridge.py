"""Ridge and leave-one-out, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.arrays import to_host
from lincorr.scores.moments import Truth
from lincorr.solvers.leave_one_out import leave_one_out
from lincorr.solvers.spectrum import ridge_path, solve
from tests.lincorr.solvers.cases import CASES, Case, Hidden, typical
from tests.lincorr.solvers.problems import Floats, centred, dense, error


@pytest.mark.parametrize("root_penalty", [1e-3, 0.1, 1.0])
@typical
def test_ridge_is_scikit_learns(xp: Any, case: Case, root_penalty: float) -> None:
    fitted = solve(case.problem(xp), root_penalty)
    sigma_1 = np.linalg.norm(centred(case.source), 2)
    assert fitted.diagnosis.penalty == pytest.approx((root_penalty * sigma_1) ** 2)
    reference = Ridge(alpha=(root_penalty * sigma_1) ** 2, solver="svd").fit(case.source, case.target)
    assert error(dense(fitted), np.atleast_2d(reference.coef_).T) < 1e-8
    np.testing.assert_allclose(fitted.intercept, reference.intercept_, rtol=1e-8, atol=1e-8)


def refitted(case: Case, root_penalty: float) -> Floats:
    """Predictions of every row by scikit-learn, fitted without it."""
    penalty = (root_penalty * np.linalg.norm(centred(case.source), 2)) ** 2
    model = Ridge(alpha=penalty, solver="svd") if penalty else LinearRegression()
    n = len(case.source)
    rows = [
        model.fit(np.delete(case.source, i, 0), np.delete(case.target, i, 0)).predict(case.source[i : i + 1])
        for i in range(n)
    ]
    return np.concatenate(rows).reshape(n, -1)


def left_out(problem: Any, root_penalty: float) -> Any:
    """Predictions of every target without its row."""
    found, penalty = problem.spectrum, (root_penalty * problem.cut.sigma_1) ** 2
    rows = found.left, problem.targets, found.values, problem.projected
    [predicted] = leave_one_out(*rows, [penalty], problem.n_rows)
    return predicted


LEFT_OUT = [
    ("direct tall", 0.0),
    ("direct tall", 0.1),
    ("direct wide", 0.1),
    ("direct constant column", 0.0),
    ("factored n>p", 0.0),
    ("factored d<n<p", 0.0),
    ("factored d<n<p", 0.1),
    ("factored p<d", 0.1),
    ("factored n<d", 0.1),
    ("factored bias and scale, q>d", 0.1),
]


@pytest.mark.parametrize(("name", "root_penalty"), LEFT_OUT)
def test_leave_one_out_is_leaving_one_out(xp: Any, name: str, root_penalty: float) -> None:
    case = CASES[name]
    problem: Any = case.problem(xp)
    predicted = left_out(problem, root_penalty)
    outputs = predicted if problem.readout is None else predicted @ problem.readout.T
    expected = refitted(case, root_penalty)
    np.testing.assert_allclose(to_host(outputs) + case.target.mean(axis=0), expected, rtol=1e-6, atol=1e-6)

    r = scipy.stats.pearsonr(expected, case.target).statistic
    [point] = ridge_path(problem, np.array([root_penalty])).points
    assert point.score == pytest.approx(np.mean(r), abs=1e-6)


@pytest.mark.parametrize("name", ["direct wide", "factored n<d"])
def test_where_every_row_is_interpolated_there_is_no_score(xp: Any, name: str) -> None:
    path = ridge_path(CASES[name].problem(xp), np.array([0.0, 0.1]))
    assert np.isnan(path.points[0].score)
    assert path.best == 0.1


@typical
def test_reading_penalty_is_the_largest_within_one_percent_of_the_best(case: Case) -> None:
    path = ridge_path(case.problem())
    scores = {point.root_penalty: point.score for point in path.points if not np.isnan(point.score)}
    best = max(scores.values())
    assert scores[path.best] == best
    assert path.reading >= path.best
    assert scores[path.reading] >= 0.99 * best
    assert all(score < 0.99 * best for root, score in scores.items() if root > path.reading)


def test_too_few_rows_to_leave_one_out_choose_the_strongest_penalty() -> None:
    path = ridge_path(CASES["direct wide"].problem(), np.array([0.0]))
    assert (path.best, path.reading) == (0.0, 0.0)


def test_scores_through_hidden_states_are_those_of_the_logits() -> None:
    """Held-out correlation of all outputs from moments of the hidden states."""
    case = CASES["factored q>d"]
    assert isinstance(case, Hidden)
    problem = case.problem()
    inner = left_out(problem, 0.01)
    explicit = Truth.of(centred(case.target)).mean_pearson(inner @ case.target_head.weight.T)
    assert Truth.of(problem.targets, problem.readout).mean_pearson(inner) == pytest.approx(explicit, abs=1e-9)
