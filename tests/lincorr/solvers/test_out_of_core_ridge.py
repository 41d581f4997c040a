"""Out-of-core ridge and leave-one-out, against an explicit ridge and scikit-learn."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.errors import BadInput
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.reduced import LeaveOneOut
from lincorr.solvers.spectrum import ROOT_PENALTIES, coefficients, ridge_path, solve
from tests.lincorr.solvers.out_of_core import CASES, METHODS, by_gram, case, every_method, explicit_ridge
from tests.lincorr.solvers.problems import Put, centred, dense, error


@pytest.mark.parametrize("root_penalty", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("name", ["tall", "wide", "square", "rank-deficient", "n=2", "large means"])
@every_method
def test_ridge_is_that_of_the_augmented_system(put: Put, method: str, name: str, root_penalty: float) -> None:
    problem = CASES[name]
    penalty = float((root_penalty * np.linalg.norm(centred(problem.source), 2)) ** 2)
    fitted = solve(METHODS[method](problem, put), root_penalty)
    assert fitted.diagnosis.penalty == pytest.approx(penalty)
    assert error(dense(fitted), explicit_ridge(problem, penalty)) < 1e-8


@pytest.mark.parametrize(
    ("name", "root_penalty"),
    [("tall", 0.0), ("tall", 0.1), ("wide", 0.1), ("constant column", 0.0), ("q=1", 0.1)],
)
@every_method
def test_leave_one_out_is_leaving_one_out(put: Put, method: str, name: str, root_penalty: float) -> None:
    problem = CASES[name]
    penalty = float((root_penalty * np.linalg.norm(centred(problem.source), 2)) ** 2)
    model = Ridge(alpha=penalty, solver="svd") if penalty else LinearRegression()
    n = len(problem.source)
    x, y = problem.source, problem.target
    predicted = [model.fit(np.delete(x, i, 0), np.delete(y, i, 0)).predict(x[i : i + 1]) for i in range(n)]
    r = scipy.stats.pearsonr(np.concatenate(predicted).reshape(n, -1), y).statistic
    [point] = ridge_path(METHODS[method](problem, put), np.array([root_penalty])).points
    assert point.score == pytest.approx(np.mean(r), abs=1e-6)


@pytest.mark.parametrize("method", ["dual", "lowrank"])
def test_where_every_row_is_interpolated_there_is_no_score(method: str) -> None:
    path = ridge_path(METHODS[method](CASES["wide"], np.asarray), np.array([0.0, 0.1]))
    assert np.isnan(path.points[0].score)
    assert path.best == 0.1


def test_leave_one_out_can_be_kept_as_an_array() -> None:
    made = LeaveOneOut(by_gram_correlation(), 3)
    again = LeaveOneOut.unpacked(made.packed())
    assert again.interpolated == 3
    assert again.correlation.count == made.correlation.count
    np.testing.assert_array_equal(again.correlation.xy, made.correlation.xy)
    assert LeaveOneOut(made.correlation, 0).score() == pytest.approx(made.correlation.pearson().mean())


def by_gram_correlation() -> Any:
    from lincorr.scores.moments import Correlation

    rng = np.random.default_rng(0)
    return Correlation.of(rng.standard_normal((9, 2)), rng.standard_normal((9, 2)))


@every_method
def test_moments_of_coordinates_score_as_predictions_do(method: str) -> None:
    problem = CASES["tall"]
    found = METHODS[method](problem, np.asarray)
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, 10)), rng.standard_normal((50, 4))
    score = found.score(coefficients(found, 0.1), CrossMoments.of(found.coordinates(x), y))
    expected = scipy.stats.pearsonr(solve(found, 0.1).predict(x), y, axis=0).statistic
    np.testing.assert_allclose(score.pearson(), expected, atol=1e-10)
    rows = found.rows(coefficients(found, 0.1), np.array([4, 0]))
    np.testing.assert_allclose(rows, dense(solve(found, 0.1))[[4, 0]])


def test_certificates_do_not_form_the_weights() -> None:
    found = by_gram(CASES["tall"], np.asarray)
    rng, r, width = np.random.default_rng(0), 5, 2000
    wide = replace(
        found,
        basis=np.linalg.qr(rng.standard_normal((width, r)))[0] + 1e-6 * rng.standard_normal((width, r)),
    )
    solution = rng.standard_normal((r, width))
    outside = wide.basis @ (solution - wide.basis.T @ (wide.basis @ solution))
    tracemalloc.start()
    _, share = wide.certificates(solution, 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert share == pytest.approx(np.linalg.norm(outside) / np.linalg.norm(solution), rel=1e-6)
    assert peak < 8 * width * width / 10


def test_a_negative_penalty_is_refused() -> None:
    with pytest.raises(BadInput, match=r"fit\.penalty: -0\.1 is negative"):
        solve(by_gram(CASES["tall"], np.asarray), -0.1)


def test_the_path_is_the_same_for_every_method() -> None:
    problem = case(60, 30, 3, kappa=100.0)
    paths = [ridge_path(method(problem, np.asarray)) for method in METHODS.values()]
    for path in paths:
        assert path.reading == paths[0].reading
        scores = [[point.score for point in other.points] for other in (path, paths[0])]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-8)
    assert len(paths[0].points) == len(ROOT_PENALTIES)
