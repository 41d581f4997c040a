"""In-memory least squares, against LAPACK's gelsd on exact float64 data."""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lincorr.solvers.spectrum import solve
from lincorr.testing import hidden_problem
from tests.lincorr.solvers.cases import Case, Hidden, Logits, answers, every_case, expected_error, gelsd
from tests.lincorr.solvers.problems import centred, dense, error, matrix


@every_case
def test_weights_are_gelsds(xp: Any, case: Case) -> None:
    weights, values, rank = gelsd(case)
    fitted = solve(case.problem(xp))
    assert fitted.diagnosis.cut.rank == rank
    assert error(dense(fitted), weights) < expected_error(case, weights, values, rank)


@every_case
def test_certificates_are_near_rounding(xp: Any, case: Case) -> None:
    for root_penalty in (0.0, 0.1):
        diagnosis = solve(case.problem(xp), root_penalty).diagnosis
        assert diagnosis.normal_residual < 1e-13
        assert diagnosis.min_norm_residual < 1e-13


@every_case
def test_nothing_lies_where_the_source_does_not_vary(case: Case) -> None:
    """Minimum norm: no other solution is shorter, so W is orthogonal to the null space."""
    fitted = solve(case.problem())
    nowhere = scipy.linalg.null_space(centred(case.source), rcond=1e-11)
    tolerance = 1e-8 if case.head_condition > 1 else 1e-9
    assert np.linalg.norm(nowhere.T @ dense(fitted)) <= tolerance * np.linalg.norm(dense(fitted))


@every_case
def test_intercept_carries_mean_to_mean(case: Case) -> None:
    fitted = solve(case.problem(), 0.01)
    mean = case.source.mean(axis=0)
    size = np.abs(mean) @ np.abs(dense(fitted)) + np.abs(case.target).max()
    assert np.all(np.abs(fitted.predict(mean[None])[0] - case.target.mean(axis=0)) < 1e-12 * size)


@settings(deadline=None)
@given(
    n=st.integers(3, 30),
    p=st.integers(1, 30),
    q=st.integers(1, 5),
    rank=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_direct_is_gelsd_at_any_size_and_rank(n: int, p: int, q: int, rank: int, seed: int) -> None:
    source = matrix(n, p, rank=min(rank, n - 1, p), seed=seed)
    case = Logits(source, answers(source, q, seed))
    weights, values, true_rank = gelsd(case)
    fitted = solve(case.problem())
    assert fitted.diagnosis.cut.rank == true_rank
    assert error(dense(fitted), weights) < expected_error(case, weights, values, true_rank)


@settings(deadline=None)
@given(
    n=st.integers(3, 30),
    d=st.integers(1, 12),
    p=st.integers(1, 30),
    q=st.integers(1, 15),
    seed=st.integers(0, 99),
)
def test_factored_is_gelsd_at_any_size(n: int, d: int, p: int, q: int, seed: int) -> None:
    made = hidden_problem(n, d, p, q, bias=True, seed=seed)
    case = Hidden(made.source, made.target, made.source_head, made.target_head)
    weights, values, rank = gelsd(case)
    fitted = solve(case.problem())
    assert fitted.diagnosis.cut.rank == rank
    assert error(dense(fitted), weights) < expected_error(case, weights, values, rank)
