"""The rank decision: rounding for storage, limits and gaps."""

from typing import Any

import numpy as np
import pytest

from lincorr.solvers.cutoff import EPS64
from lincorr.solvers.spectrum import solve
from lincorr.testing import hidden_problem
from tests.lincorr.solvers.cases import CASES, Logits, answers, gelsd
from tests.lincorr.solvers.problems import centred, dense, error, matrix


def wide_logits(dtype: Any, n: int = 120, d: int = 16, p: int = 200) -> tuple[Logits, Logits]:
    """More columns than the model is wide: exact, and as they come back from storage."""
    made = hidden_problem(n, d, p, 30, noise=0.05)
    exact = Logits(made.source_logits(), made.target_logits())
    source, target = (x.astype(dtype).astype(np.float64) for x in (exact.source, exact.target))
    return exact, Logits(source, target)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("n", "p"), [(120, 200), (200, 120)])
def test_rounding_for_storage_does_not_ruin_the_weights(xp: Any, dtype: Any, n: int, p: int) -> None:
    d = 16
    exact, stored = wide_logits(dtype, n, d, p)
    weights, _, _ = gelsd(exact)
    ruined, _, ruined_rank = gelsd(stored, cond=EPS64 * max(n, p))
    assert ruined_rank >= p - 1 or ruined_rank >= n - 1  # what this rule is there for:
    assert np.linalg.norm(ruined) > 10 * np.linalg.norm(weights)

    fitted = solve(stored.problem(xp, storage_eps=float(np.finfo(dtype).eps)))
    cut = fitted.diagnosis.cut
    assert cut.rank == d if dtype is np.float32 else d - 3 <= cut.rank <= d
    assert np.linalg.norm(dense(fitted)) < 1.1 * np.linalg.norm(weights)
    reference, _, _ = gelsd(stored, cond=cut.noise_floor / cut.sigma_1)
    assert error(dense(fitted), reference) < 1e-9
    if dtype is np.float32:
        assert error(dense(fitted), weights) < 1e-3
        assert cut.identified


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_noise_floor_is_just_above_the_rounding_noise(dtype: Any) -> None:
    exact, stored = wide_logits(dtype)
    noise = np.linalg.norm(centred(stored.source) - centred(exact.source), 2)
    cut = solve(stored.problem(storage_eps=float(np.finfo(dtype).eps))).diagnosis.cut
    assert noise < cut.noise_floor < 5 * noise


def test_rank_limit_is_truncation() -> None:
    case = CASES["direct tall"]
    _, values, _ = gelsd(case)
    weights, _, rank = gelsd(case, cond=float(np.sqrt(values[4] * values[5]) / values[0]))
    fitted = solve(case.problem(rank_limit=5))
    assert fitted.diagnosis.cut.rank == rank == 5
    assert error(dense(fitted), weights) < 1e-12


@pytest.mark.parametrize("name", ["direct kappa 1e5", "factored kappa 1e5"])
def test_rcond_overrides_the_rule(xp: Any, name: str) -> None:
    case = CASES[name]
    weights, _, rank = gelsd(case, cond=1e-3)
    fitted = solve(case.problem(xp, rcond=1e-3))
    cut = fitted.diagnosis.cut
    assert cut.rank == rank < gelsd(case)[2]
    assert cut.threshold == pytest.approx(1e-3 * cut.sigma_1)
    assert error(dense(fitted), weights) < 1e-8


def test_a_cut_through_a_smooth_spectrum_is_called_unidentified() -> None:
    case = CASES["direct kappa 1e5"]
    fitted = solve(case.problem(rcond=1e-3)).diagnosis
    _, values, rank = gelsd(case, cond=1e-3)
    assert fitted.cut.gap == pytest.approx(values[rank - 1] / values[rank])
    assert not fitted.cut.identified
    assert str(fitted.warning()).startswith(f"W is not identified beyond rank {rank} ")


def test_a_ridge_is_not_warned_of() -> None:
    assert solve(CASES["direct kappa 1e5"].problem(rcond=1e-3), 0.1).diagnosis.warning() is None


@pytest.mark.parametrize("name", ["direct rank-deficient", "factored d<n<p"])
def test_a_cut_in_a_clear_gap_is_identified(name: str) -> None:
    diagnosis = solve(CASES[name].problem()).diagnosis
    assert diagnosis.cut.identified
    assert diagnosis.warning() is None


def test_a_source_that_does_not_vary_predicts_the_mean(xp: Any) -> None:
    case = Logits(np.full((6, 3), 2.0), answers(matrix(6, 3), 2))
    fitted = solve(case.problem(xp))
    assert fitted.diagnosis.cut.rank == 0
    np.testing.assert_allclose(fitted.predict(case.source[:1])[0], case.target.mean(axis=0))
