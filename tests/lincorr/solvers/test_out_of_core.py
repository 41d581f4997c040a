"""Out-of-core least squares, block by block, against gelsd."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lincorr.errors import LincorrError
from lincorr.solvers import lowrank
from lincorr.solvers.cutoff import EPS64
from lincorr.solvers.spectrum import solve
from lincorr.testing import hidden_problem
from tests.lincorr.solvers.out_of_core import (
    CASES,
    METHODS,
    Case,
    allowed,
    by_gram,
    by_lowrank,
    case,
    every_case,
    every_method,
    gelsd,
)
from tests.lincorr.solvers.problems import Put, centred, dense, error, matrix


@every_case
@every_method
def test_weights_are_gelsds(put: Put, method: str, name: str) -> None:
    problem = CASES[name]
    weights, values, rank = gelsd(problem, 1e-11)
    found = METHODS[method](problem, put)
    fitted = solve(found)
    assert fitted.diagnosis.cut.rank == rank
    assert error(dense(fitted), weights) < allowed(problem, method, values, rank)
    residual = fitted.diagnosis.normal_residual
    assert residual < (1e-13 if method != "lowrank" else 1e-11 * values[0])
    kappa = values[0] / values[rank - 1]
    assert fitted.diagnosis.min_norm_residual < 1e-13 * kappa ** (1 if method == "lowrank" else 2)
    mean = problem.source.mean(axis=0)
    size = np.abs(mean) @ np.abs(dense(fitted)) + np.abs(problem.target).max()
    assert np.all(np.abs(fitted.predict(mean[None])[0] - problem.target.mean(axis=0)) < 1e-11 * size)


@every_method
@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(2, 30),
    p=st.integers(1, 30),
    q=st.integers(1, 5),
    rank=st.integers(1, 30),
    size=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_any_size_and_rank_in_any_blocks(
    method: str, n: int, p: int, q: int, rank: int, size: int, seed: int
) -> None:
    source = matrix(n, p, rank=min(rank, n - 1, p), seed=seed)
    rng = np.random.default_rng(seed)
    problem = Case(source, source @ rng.standard_normal((p, q)) + rng.normal(3, 0.1, (n, q)))
    weights, values, true_rank = gelsd(problem, 1e-9)
    fitted = solve(METHODS[method](problem, np.asarray, size=size))
    assert fitted.diagnosis.cut.rank == true_rank
    assert error(dense(fitted), weights) < allowed(problem, method, values, true_rank)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("n", "p"), [(120, 200), (200, 120)])
@every_method
def test_rounding_for_storage_does_not_ruin_the_weights(method: str, dtype: Any, n: int, p: int) -> None:
    made = hidden_problem(n, 16, p, 30, noise=0.05)
    x, y = (x.astype(dtype).astype(np.float64) for x in (made.source_logits(), made.target_logits()))
    problem = Case(x, y, float(np.finfo(dtype).eps))
    fitted = solve(METHODS[method](problem, np.asarray, size=40))
    cut = fitted.diagnosis.cut
    assert cut.rank == 16 if dtype is np.float32 else 13 <= cut.rank <= 16
    reference, _, rank = gelsd(problem, cut.noise_floor / cut.sigma_1)
    assert rank == cut.rank
    # without a power step the sketch adds an error of the size of the noise
    noise = 1e-9 if method != "lowrank" else 10 * cut.noise_floor / cut.sigma_r
    assert error(dense(fitted), reference) < noise


def test_the_gram_matrix_says_what_it_cannot_resolve() -> None:
    problem = case(60, 20, kappa=1e10)
    fitted = solve(by_gram(problem, np.asarray)).diagnosis
    assert fitted.cut.rank < 20
    assert fitted.cut.threshold == pytest.approx(np.sqrt(60 * EPS64) * fitted.cut.sigma_1)
    assert fitted.warning() == (
        f"W is not identified beyond rank {fitted.cut.rank} (gram resolves nothing smaller); "
        "its predictions are"
    )
    assert solve(by_gram(CASES["rank-deficient"], np.asarray)).diagnosis.warning() is None


def test_rcond_and_the_rank_limit_are_heeded() -> None:
    problem = CASES["kappa 1e5"]
    weights, _, rank = gelsd(problem, 1e-2)
    for method in METHODS.values():
        by_rcond, limited = method(problem, np.asarray, rcond=1e-2), method(problem, np.asarray, rank_limit=3)
        assert by_rcond.cut.rank == rank
        assert error(dense(solve(by_rcond)), weights) < 1e-8
        assert limited.cut.rank == 3


def test_a_source_that_does_not_vary_predicts_the_mean(put: Put) -> None:
    problem = Case(np.full((6, 3), 2.0), CASES["tall"].target[:6])
    for method in METHODS.values():
        fitted = solve(method(problem, put))
        assert fitted.diagnosis.cut.rank == 0
        np.testing.assert_allclose(fitted.predict(problem.source[:1])[0], problem.target.mean(axis=0))


def test_the_sketch_bounds_what_it_misses() -> None:
    problem = case(60, 50, kappa=1e3)
    width = 12
    found = lowrank.gaussian(0, 50, width + lowrank.PROBES, 0, np.zeros(1))
    Q, bound = lowrank.orthonormal(centred(problem.source) @ found)
    missed = np.linalg.norm(centred(problem.source) - Q @ (Q.T @ centred(problem.source)), 2)
    assert missed <= bound < 100 * missed


def test_a_sketch_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(LincorrError, match=r"lowrank looked for 12 directions .* set fit\.method to tiled"):
        by_lowrank(case(60, 50), np.asarray, width=12)
