"""The streamed solvers, block by block and tile by tile, against gelsd and an explicit ridge in float64."""

import functools
import itertools
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge

from lincorr.arrays import (
    add_product,
    add_square,
    has_gpu,
    like,
    limit_memory,
    namespace,
    solve_triangular,
    to_device,
    to_host,
)
from lincorr.errors import BadInput, LincorrError
from lincorr.scores.moments import CrossMoments
from lincorr.solvers import dual, gram, lowrank, tiled
from lincorr.solvers.cutoff import EPS64, noise_floor
from lincorr.solvers.products import Place, add_products, gram_tile, mirrored
from lincorr.solvers.reduced import LeaveOneOut, Reduced, leave_one_out_block, scored_outputs
from lincorr.solvers.result import Factors, LinearMap
from lincorr.solvers.spectrum import ROOT_PENALTIES, coefficients, ridge_path, solve
from lincorr.testing import hidden_problem

Floats = NDArray[np.float64]
Put = Callable[[Any], Any]

PUTS: dict[str, Put] = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    # another device: what slips back to the host, or to the default device, raises
    "device": lambda x: array_api_strict.asarray(x, device=array_api_strict.Device("device1")),
}


@pytest.fixture(params=[*PUTS, pytest.param("cupy", marks=pytest.mark.gpu)])
def put(request: pytest.FixtureRequest) -> Put:
    if request.param != "cupy":
        return PUTS[request.param]
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        cupy.zeros(1)
    except Exception as problem:
        pytest.skip(f"CuPy finds no GPU ({type(problem).__name__})")
    return lambda x: to_device(np.asarray(x), "cuda")


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


@dataclass(frozen=True)
class Case:
    source: Floats
    target: Floats
    storage_eps: float = EPS64


def case(
    n: int, p: int, q: int = 4, *, change: Callable[[Floats], Floats] | None = None, **kind: Any
) -> Case:
    source = matrix(n, p, **kind)
    if change is not None:
        source = change(source)
    rng = np.random.default_rng(1)
    return Case(source, centred(source) @ rng.standard_normal((p, q)) + rng.normal(3, 0.1, (n, q)))


def duplicate_column(source: Floats) -> Floats:
    source[:, 3] = source[:, 5]
    return source


def constant_column(source: Floats) -> Floats:
    source[:, 3] = 17.0
    return source


CASES = {
    "tall": case(80, 10),
    "wide": case(20, 50),
    "square": case(30, 30),
    "n=2": case(2, 5),
    "q=1": case(40, 10, 1),
    "p=1": case(40, 1),
    "rank-deficient": case(60, 20, rank=7),
    "rank-deficient wide": case(20, 60, rank=7),
    "duplicated column": case(60, 10, change=duplicate_column),
    "constant column": case(60, 10, change=constant_column),
    "large means": case(60, 10, change=lambda x: x + 1e3),
    "badly scaled": case(60, 10, change=lambda x: x * np.logspace(-2, 2, 10)),
    "kappa 1e2": case(60, 20, kappa=1e2),
    "kappa 1e5": case(60, 20, kappa=1e5),
}
every_case = pytest.mark.parametrize("name", CASES)


# --- the streamed methods, in memory ------------------------------------------------------------------


def parts(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def noise_of(problem: Case) -> float:
    return noise_floor(
        np.linalg.norm(problem.source, axis=1), np.linalg.norm(problem.source, axis=0), problem.storage_eps
    )


def by_gram(problem: Case, put: Put, *, size: int = 7, **options: Any) -> Reduced:
    x, y = put(problem.source), put(problem.target)
    rows = parts(len(problem.source), size)
    moments = functools.reduce(
        gram.Moments.merge, (gram.Moments.of(x[block, :], y[block, :]) for block in rows)
    )
    known = {
        "source_ids": np.arange(x.shape[1]),
        "target_ids": np.arange(y.shape[1]),
        "storage_eps": problem.storage_eps,
    }
    found = gram.gram(moments, lambda _: [], **known, **options)

    def blocks() -> Any:
        for block in rows:
            left = gram.left_rows(x[block, :], found.source_mean, found.basis, found.values)
            yield left, y[block, :] - found.target_mean

    return with_scores(found, blocks)


def with_scores(found: Reduced, blocks: Any) -> Reduced:
    """Let it leave one out: `blocks` yields rows of U and of the centred targets."""
    outputs = scored_outputs(found.projected.shape[1])

    def some(columns: Any) -> Any:
        return namespace(columns).take(columns, like(outputs, columns), axis=1)

    def scores(root_penalties: Sequence[float]) -> list[float]:
        penalties = [(root * found.cut.sigma_1) ** 2 for root in root_penalties]
        by_block = [
            leave_one_out_block(
                left, some(targets), found.values, some(found.projected), penalties, found.n_rows
            )
            for left, targets in blocks()
        ]
        merged = (functools.reduce(LeaveOneOut.merge, parts) for parts in zip(*by_block, strict=True))
        return [one.score() for one in merged]

    return replace(found, left_out=scores)


def reduced(
    method: str, problem: Case, x: Any, y: Any, left: Any, values: Any, cut: Any, basis: Any, residual: float
) -> Reduced:
    mean = np.mean(problem.target, axis=0)
    put = type_of_put(x)
    targets = y - put(mean)
    found = Reduced(
        method=method,
        source_ids=np.arange(x.shape[1]),
        target_ids=np.arange(y.shape[1]),
        n_rows=x.shape[0],
        cut=cut,
        values=values,
        basis=basis,
        projected=left.T @ targets,
        source_mean=put(np.mean(problem.source, axis=0)),
        target_mean=put(mean),
        residual=residual,
        left_out=lambda _: [],
    )
    rows = parts(x.shape[0], 7)
    return with_scores(found, lambda: ((left[block, :], targets[block, :]) for block in rows))


def type_of_put(x: Any) -> Put:
    return lambda value: like(value, x)


def by_dual(problem: Case, put: Put, *, size: int = 7, **options: Any) -> Reduced:
    y = put(problem.target)
    x = put(centred(problem.source))
    columns = parts(x.shape[1], size)
    panels = [x[:, block] for block in columns]
    products = gram_tile((panel.T, panel.T) for panel in panels)
    found = dual.decompose(dual.double_centre(products), x.shape[1], noise=noise_of(problem), **options)
    xp = namespace(x)
    basis = xp.concat([dual.basis_panel(panel, found.left, found.values) for panel in panels], axis=0)
    return reduced(dual.METHOD, problem, x, y, found.left, found.values, found.cut, basis, found.residual)


def by_lowrank(problem: Case, put: Put, *, size: int = 7, width: int = 70, **options: Any) -> Reduced:
    y = put(problem.target)
    x = put(centred(problem.source))
    columns = parts(x.shape[1], size)
    xp = namespace(x)
    sketch = functools.reduce(
        lambda total, block: (
            total + x[:, block] @ lowrank.gaussian(block.start, block.stop, width + lowrank.PROBES, 0, x)
        ),
        columns,
        put(np.zeros((x.shape[0], width + lowrank.PROBES))),
    )
    Q, missed = lowrank.orthonormal(sketch)
    panels = [Q.T @ x[:, block] for block in columns]
    triangles = xp.concat([lowrank.triangle(panel) for panel in panels], axis=0)
    small = lowrank.decompose(triangles, problem.source.shape, noise=noise_of(problem), **options)
    basis = xp.concat([lowrank.basis_panel(panel, small) for panel in panels], axis=0)
    return reduced(lowrank.METHOD, problem, x, y, Q @ small.rotation, small.values, small.cut, basis, missed)


METHODS = {"gram": by_gram, "dual": by_dual, "lowrank": by_lowrank}
every_method = pytest.mark.parametrize("method", METHODS)


def by_tiles(
    problem: Case, penalty: float, put: Put, *, size: int = 7, order: int | None = None
) -> tuple[Floats, dict[tuple[int, int], Any]]:
    """Ridge weights by the tiled schedule; `order` seeds the order in which independent tasks run."""
    rng = np.random.default_rng(order)

    def tasks(found: list[Any]) -> list[Any]:
        return found if order is None else [found[i] for i in rng.permutation(len(found))]

    x, y = put(centred(problem.source)), put(centred(problem.target))
    source, target = parts(x.shape[1], size), parts(y.shape[1], 3)
    rows = parts(x.shape[0], 11)

    def product(a: slice, other: Any, b: slice) -> Any:
        return gram_tile((x[block, a], other[block, b]) for block in rows)

    count = len(source)
    G = {(i, j): product(source[i], x, source[j]) for i, j in tasks(lower(count))}
    L: dict[tuple[int, int], Any] = {}

    def read(i: int, j: int) -> Any:
        return L[i, j]

    for j in range(count):
        here = tiled.add_to_diagonal(G[j, j], penalty)
        L[j, j] = tiled.factor_diagonal(tiled.downdate(here, j, j, read), j)
        for i in tasks(list(range(j + 1, count))):
            L[i, j] = tiled.factor_below(tiled.downdate(G[i, j], i, j, read), L[j, j])
    blocks: dict[int, list[Any]] = {}
    numbers = list(range(len(target)))
    for some in tasks([part for part in (numbers[::2], numbers[1::2]) if part]):  # two tasks
        columns = [[product(block, y, target[c]) for block in source] for c in some]
        tiled.forward(columns, read)
        tiled.backward(columns, read)
        blocks |= dict(zip(some, columns, strict=True))
    whole = [np.concatenate([to_host(tile) for tile in blocks[c]]) for c in range(len(target))]
    return np.concatenate(whole, axis=1), L


def lower(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(count) for j in range(i + 1)]


# --- references ---------------------------------------------------------------------------------------


def gelsd(problem: Case, cond: float) -> tuple[Floats, Floats, int]:
    weights, _, rank, values = scipy.linalg.lstsq(
        centred(problem.source), centred(problem.target), cond=cond, lapack_driver="gelsd"
    )
    return weights, values, int(rank)


def explicit_ridge(problem: Case, penalty: float) -> Floats:
    """The augmented system ``[Xc; √λ I] W = [Yc; 0]`` by QR."""
    p, q = problem.source.shape[1], problem.target.shape[1]
    stacked = np.concatenate([centred(problem.source), np.sqrt(penalty) * np.eye(p)])
    right = np.concatenate([centred(problem.target), np.zeros((p, q))])
    Q, R = np.linalg.qr(stacked)
    solved: Floats = scipy.linalg.solve_triangular(R, Q.T @ right)
    return solved


def dense(fitted: LinearMap) -> Floats:
    weights = fitted.weights
    if isinstance(weights, Factors):
        return np.asarray(weights.left @ weights.core @ weights.right.T)
    return np.asarray(weights)


def error(found: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def allowed(problem: Case, method: str, values: Floats, rank: int) -> float:
    """How far a solution may be from gelsd's: rounding times κ, or κ² where the matrix is squared."""
    kappa = values[0] / values[rank - 1]
    size = np.linalg.norm(problem.source) / np.linalg.norm(centred(problem.source))
    power = 1 if method == "lowrank" else 2
    return float(1e3 * EPS64 * size * max(kappa, 10) ** power)


# --- least squares ------------------------------------------------------------------------------------


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
    stored = (x.astype(dtype).astype(np.float64) for x in (made.source_logits(), made.target_logits()))
    problem = Case(*stored, float(np.finfo(dtype).eps))
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


# --- ridge and leave-one-out --------------------------------------------------------------------------


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


# --- tiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root_penalty", [1e-3, 0.1])
@every_case
def test_tiled_ridge_is_that_of_the_augmented_system(put: Put, name: str, root_penalty: float) -> None:
    problem = CASES[name]
    penalty = float((root_penalty * np.linalg.norm(centred(problem.source), 2)) ** 2)
    found, _ = by_tiles(problem, penalty, put)
    assert error(found, explicit_ridge(problem, penalty)) < 1e3 * EPS64 * (1 + 1 / root_penalty**2)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 30), p=st.integers(1, 40), q=st.integers(1, 7), size=st.integers(1, 15))
def test_tiled_ridge_in_tiles_of_any_size(n: int, p: int, q: int, size: int) -> None:
    problem = case(n, p, q)
    found, L = by_tiles(problem, 0.3, np.asarray, size=size)
    assert error(found, explicit_ridge(problem, 0.3)) < 1e-10
    assert all(np.array_equal(tile, np.tril(tile)) for (i, j), tile in L.items() if i == j)


def test_the_order_of_tasks_changes_no_bit() -> None:
    problem = case(50, 40, 8)
    first, second = (by_tiles(problem, 0.3, np.asarray, size=6, order=order)[0] for order in (1, 2))
    assert first.tobytes() == second.tobytes()


def test_singular_tiles_are_named_with_the_mend() -> None:
    problem = CASES["duplicated column"]
    with pytest.raises(
        LincorrError, match=r"not positive definite at diagonal tile 0 .* larger fit\.penalty"
    ):
        by_tiles(problem, -1e-3, np.asarray)


@pytest.mark.parametrize("size", [1, 5, 128, 129, 300])
def test_triangles_are_solved(put: Put, size: int) -> None:
    rng = np.random.default_rng(0)
    triangle = np.tril(rng.standard_normal((size, size))) / size + 2 * np.eye(size)
    right = rng.standard_normal((size, 3))
    expected = scipy.linalg.solve_triangular(triangle, right, lower=True)
    found = solve_triangular(put(triangle), put(right), lower=True)
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-9)
    expected = scipy.linalg.solve_triangular(triangle.T, right)
    for turned in (triangle.T, np.ascontiguousarray(triangle.T)):
        found = solve_triangular(put(turned), put(right), lower=False)
        np.testing.assert_allclose(to_host(found), expected, rtol=1e-9)
    by_columns = solve_triangular(put(np.asfortranarray(triangle)), put(right), lower=True)
    expected = scipy.linalg.solve_triangular(triangle, right, lower=True)
    np.testing.assert_allclose(to_host(by_columns), expected, rtol=1e-9)


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_tiles_are_read_in_the_order_that_is_told(tiles: int) -> None:
    rng, asked = np.random.default_rng(0), []
    lower = {
        (i, j): np.tril(rng.standard_normal((3, 3))) + 4 * np.eye(3)
        for i in range(tiles)
        for j in range(i + 1)
    }

    def read(i: int, j: int) -> Floats:
        asked.append((i, j))
        return lower[i, j]

    right = [rng.standard_normal((3, 2)) for _ in range(tiles)]
    tiled.forward([right], read)
    tiled.backward([right], read)
    assert asked == tiled.order_of_reading(tiles)


def test_the_largest_eigenvalue(put: Put) -> None:
    problem = matrix(100, 40, kappa=1e3)
    G = put(problem.T @ problem)
    start = put(np.random.default_rng(0).standard_normal((40, 8)))
    found = tiled.largest_eigenvalue(lambda block: G @ block, start)
    assert found == pytest.approx(np.linalg.norm(problem, 2) ** 2, rel=1e-2)


@pytest.mark.parametrize("orders", list(itertools.product("CF", repeat=3)), ids="".join)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_product_is_added_and_taken_away(put: Put, orders: tuple[str, str, str], sign: float) -> None:
    rng = np.random.default_rng(0)
    shapes = (3, 4), (3, 5), (5, 4)
    total, a, b = (np.array(rng.standard_normal(s), order=o) for s, o in zip(shapes, orders, strict=True))  # type: ignore[call-overload]
    expected = total + sign * (a @ b)
    found = add_product(put(total), put(a), put(b), sign=sign)
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_square_is_added_to_the_lower_triangle(put: Put, order: Any, sign: float) -> None:
    rng = np.random.default_rng(0)
    a = np.array(rng.standard_normal((4, 6)), order=order)
    whole = rng.standard_normal((4, 4))
    total = whole + whole.T
    expected = np.tril(total + sign * (a @ a.T))
    found = add_square(put(np.tril(total)), put(a), sign=sign)
    np.testing.assert_allclose(np.tril(to_host(found)), expected, rtol=1e-12)


def test_a_gram_tile_of_one_panel_is_whole_and_symmetric(put: Put) -> None:
    blocks = [put(np.random.default_rng(i).standard_normal((5, 3))) for i in range(3)]
    rows = np.concatenate([to_host(block) for block in blocks])
    found = to_host(gram_tile((block, block) for block in blocks))
    np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-12)
    np.testing.assert_array_equal(found, found.T)


def test_tiles_of_products_are_those_of_all_rows(put: Put) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 5)), rng.standard_normal((11, 4))
    panels = {0: slice(0, 3), 1: slice(3, 5)}
    places: list[Place] = [("gram", 0, 0), ("gram", 1, 0), ("cross", 1, 0), ("cross", 0, 1)]
    sums: dict[Place, Any] = dict.fromkeys(places)
    for rows in parts(11, 4):
        left, right = ({k: put(side[rows, panel]) for k, panel in panels.items()} for side in (x, y))
        add_products(sums, left, right)
    for name, i, j in places:
        other = x if name == "gram" else y
        found = mirrored(sums[name, i, j]) if name == "gram" and i == j else sums[name, i, j]
        np.testing.assert_allclose(to_host(found), x[:, panels[i]].T @ other[:, panels[j]], rtol=1e-12)


def test_a_product_of_parts_of_arrays_is_added() -> None:
    whole = np.arange(96.0).reshape(8, 12)
    total, a, b = whole[:3, 1:5].copy(), whole[2:5, ::2], whole[1:7, 3:7]
    expected = total + a @ b
    np.testing.assert_allclose(add_product(total, a, b), expected, rtol=1e-12)


def test_the_host_has_no_limit_of_memory() -> None:
    limit_memory("cpu", 1)
    assert to_device(np.ones(3), "cpu").sum() == 3


@pytest.mark.gpu
def test_a_device_has_a_limit_of_memory() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not has_gpu():
        pytest.skip("CuPy finds no GPU")
    pool = cupy.get_default_memory_pool()
    limit_memory("cuda", 2**20)
    try:
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.zeros(2**20)
    finally:
        pool.set_limit(size=0)
