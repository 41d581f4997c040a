"""One table of problems for every solver, against LAPACK's gelsd and scikit-learn on exact float64 data.

A solver sees a problem through its logits (direct) or its hidden states and heads (factored); the
reference always gets the logits that those make, written out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from lincorr.arrays import to_host
from lincorr.readout import Readout
from lincorr.scores.moments import CrossMoments, Truth
from lincorr.solvers.cutoff import EPS64
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import Factored, factored
from lincorr.solvers.result import Factors, LinearMap
from lincorr.solvers.spectrum import Problem, coefficients, leave_one_out, ridge_path, solve
from lincorr.testing import hidden_problem

Floats = NDArray[np.float64]


# --- problems -----------------------------------------------------------------------------------------


def centred(data: Floats) -> Floats:
    difference: Floats = data - data.mean(axis=0)
    return difference


def matrix(n: int, p: int, *, rank: int | None = None, kappa: float = 10.0, seed: int = 0) -> Floats:
    """A random centred (n, p) matrix of given rank and condition number."""
    rng = np.random.default_rng(seed)
    r = min(n - 1, p) if rank is None else rank
    left = np.linalg.qr(centred(rng.standard_normal((n, r))))[0]
    right = np.linalg.qr(rng.standard_normal((p, r)))[0]
    made: Floats = (left * np.logspace(0, -np.log10(kappa), r)) @ right.T * np.sqrt(n)
    return made


def answers(source: Floats, q: int, seed: int = 1) -> Floats:
    """Targets (n, q) that follow from the source, and some noise."""
    rng = np.random.default_rng(seed)
    n, p = source.shape
    made: Floats = centred(source) @ rng.standard_normal((p, q)) + rng.normal(3, 0.1, (n, q))
    return made


@dataclass(frozen=True)
class Logits:
    """A problem for the direct solver."""

    source: Floats
    target: Floats
    head_condition: float = 1.0

    def problem(self, xp: Any = np, **options: Any) -> Problem:
        options = {"storage_eps": EPS64} | options
        return direct(
            xp.asarray(self.source),
            xp.asarray(self.target),
            source_ids=np.arange(self.source.shape[1]),
            target_ids=np.arange(self.target.shape[1]),
            **options,
        )


@dataclass(frozen=True)
class Hidden:
    """A problem for the factored solver: hidden states and heads."""

    hidden_source: Floats
    hidden_target: Floats
    source_head: Readout
    target_head: Readout

    @property
    def source(self) -> Floats:
        return np.asarray(self.source_head.logits(self.hidden_source))

    @property
    def target(self) -> Floats:
        return np.asarray(self.target_head.logits(self.hidden_target))

    @property
    def head_condition(self) -> float:
        values = np.linalg.svd(self.source_head.weight, compute_uv=False)
        return float(values[0] / values[values > 1e-7 * values[0]][-1])

    def problem(self, xp: Any = np, **options: Any) -> Factored:
        def moved(head: Readout) -> Readout:
            bias = None if head.bias is None else xp.asarray(head.bias)
            return Readout(xp.asarray(head.weight), bias, head.scale, head.softcap)

        options = {"storage_eps": EPS64} | options
        return factored(
            xp.asarray(self.hidden_source),
            xp.asarray(self.hidden_target),
            moved(self.source_head),
            moved(self.target_head),
            source_ids=np.arange(self.source_head.weight.shape[0]),
            target_ids=np.arange(self.target_head.weight.shape[0]),
            **options,
        )


Case = Logits | Hidden


def logits(
    n: int, p: int, q: int = 4, *, change: Callable[[Floats], Floats] | None = None, **kind: Any
) -> Logits:
    source = matrix(n, p, **kind)
    if change is not None:
        source = change(source)
    return Logits(source, answers(source, q))


def hidden(n: int, d: int, p: int, q: int = 4, *, kappa: float = 10.0, mean: float = 1.0) -> Hidden:
    rng = np.random.default_rng(2)
    source = matrix(n, d, kappa=kappa) + mean * rng.standard_normal(d)
    target = answers(source, d)
    heads = [Readout(rng.standard_normal((columns, d))) for columns in (p, q)]
    return Hidden(source, target, *heads)


def with_head(case: Hidden, weight: Floats, **more: Any) -> Hidden:
    return Hidden(case.hidden_source, case.hidden_target, Readout(weight, **more), case.target_head)


def lame_head(case: Hidden) -> Hidden:
    """Some rows of the source head are zero, some are there twice: its rank is 6 of 12."""
    weight = case.source_head.weight.copy()
    weight[6:] = weight[np.arange(len(weight) - 6) % 6]
    weight[-3:] = 0.0
    return with_head(case, weight)


def biased_and_scaled(case: Hidden) -> Hidden:
    rng = np.random.default_rng(3)
    heads = [
        Readout(head.weight, rng.normal(0, 10, len(head.weight)), scale)
        for head, scale in ((case.source_head, 0.25), (case.target_head, 4.0))
    ]
    return Hidden(case.hidden_source, case.hidden_target, *heads)


def duplicate_column(source: Floats) -> Floats:
    source[:, 3] = source[:, 5]
    return source


def constant_column(source: Floats) -> Floats:
    source[:, 3] = 17.0
    return source


CASES: dict[str, Case] = {
    "direct tall": logits(80, 10),
    "direct wide": logits(20, 50),
    "direct square": logits(30, 30),
    "direct n=3": logits(3, 5),
    "direct q=1": logits(40, 10, 1),
    "direct p=1": logits(40, 1),
    "direct rank-deficient": logits(60, 20, rank=7),
    "direct rank-deficient wide": logits(20, 60, rank=7),
    "direct duplicated column": logits(60, 10, change=duplicate_column),
    "direct constant column": logits(60, 10, change=constant_column),
    "direct large means": logits(60, 10, change=lambda x: x + 1e3),
    "direct large means, rank-deficient": logits(60, 20, rank=7, change=lambda x: x + 1e3),
    "direct badly scaled": logits(60, 10, change=lambda x: x * np.logspace(-3, 3, 10)),
    "direct kappa 1e2": logits(60, 20, kappa=1e2),
    "direct kappa 1e5": logits(60, 20, kappa=1e5),
    "direct kappa 1e8": logits(60, 20, kappa=1e8),
    "factored n<d": hidden(20, 30, 60),
    "factored d<n<p": hidden(40, 8, 100),
    "factored n>p": hidden(200, 8, 20),
    "factored p<d": hidden(100, 20, 10),
    "factored p<d, n<d": hidden(15, 20, 10),
    "factored q>d": hidden(60, 8, 30, 40),
    "factored q=1": hidden(60, 8, 30, 1),
    "factored n=3": hidden(3, 8, 30),
    "factored repeated and zero head rows": lame_head(hidden(60, 12, 40)),
    "factored bias and scale": biased_and_scaled(hidden(60, 8, 30)),
    "factored bias and scale, q>d": biased_and_scaled(hidden(60, 8, 30, 40)),
    "factored large means": hidden(60, 8, 30, mean=1e3),
    "factored kappa 1e2": hidden(60, 8, 30, kappa=1e2),
    "factored kappa 1e5": hidden(60, 8, 30, kappa=1e5),
    "factored kappa 1e8": hidden(60, 8, 30, kappa=1e8),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


typical = pytest.mark.parametrize(
    "case",
    [
        CASES[name]
        for name in ("direct tall", "direct wide", "factored d<n<p", "factored p<d", "factored q>d")
    ],
    ids=["direct tall", "direct wide", "factored d<n<p", "factored p<d", "factored q>d"],
)


# --- references ---------------------------------------------------------------------------------------


def gelsd(case: Case, cond: float = 1e-11) -> tuple[Floats, Floats, int]:
    """LAPACK's minimum-norm weights, singular values and rank of the centred logits."""
    weights, _, rank, values = scipy.linalg.lstsq(
        centred(case.source), centred(case.target), cond=cond, lapack_driver="gelsd"
    )
    return weights, values, int(rank)


def dense(fitted: LinearMap) -> Floats:
    if isinstance(fitted.weights, Factors):
        w = fitted.weights
        return np.asarray(w.left @ w.core @ w.right.T)
    return np.asarray(fitted.weights)


def error(found: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def expected_error(case: Case, weights: Floats, values: Floats, rank: int) -> float:
    """How far two backward stable solutions may be apart (Wedin): a few hundred roundings, magnified.

    Rounding is relative to the uncentred data; the factored solver squares its head's condition.
    """
    kappa = values[0] / values[rank - 1]
    source, target = centred(case.source), centred(case.target)
    residual = np.linalg.norm(target - source @ weights) / (values[0] * np.linalg.norm(weights))
    size = np.linalg.norm(case.source) / np.linalg.norm(source) + np.linalg.norm(case.target) / (
        values[0] * np.linalg.norm(weights)
    )
    return float(300 * EPS64 * size * case.head_condition**2 * kappa * (1 + kappa * residual))


# --- least squares ------------------------------------------------------------------------------------


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


# --- ridge and leave-one-out --------------------------------------------------------------------------


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
    problem = case.problem(xp)
    predicted = leave_one_out(problem, root_penalty)
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


# --- predictions --------------------------------------------------------------------------------------


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


# --- the rank decision --------------------------------------------------------------------------------


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


# --- reading a map ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["direct wide", "factored q>d"])
def test_blocks_and_strongest_are_those_of_the_dense_weights(name: str) -> None:
    fitted = solve(CASES[name].problem())
    weights = dense(fitted)
    np.testing.assert_allclose(fitted.block([7, 2], [3, 0, 1]), weights[np.ix_([7, 2], [3, 0, 1])])
    assert [i for i, _ in fitted.strongest_targets(6, 3)] == np.argsort(-weights[6])[:3].tolist()
    assert [i for i, _ in fitted.strongest_sources(2, 3)] == np.argsort(-weights[:, 2])[:3].tolist()


def test_an_unknown_token_is_named() -> None:
    with pytest.raises(KeyError, match="token 999 is no source"):
        solve(CASES["direct tall"].problem()).block([999], [0])


def test_scores_through_hidden_states_are_those_of_the_logits() -> None:
    """Held-out correlation of all outputs from moments of the hidden states."""
    case = CASES["factored q>d"]
    assert isinstance(case, Hidden)
    problem = case.problem()
    inner = leave_one_out(problem, 0.01)
    explicit = Truth.of(centred(case.target)).mean_pearson(inner @ case.target_head.weight.T)
    assert Truth.of(problem.targets, problem.readout).mean_pearson(inner) == pytest.approx(explicit, abs=1e-9)
