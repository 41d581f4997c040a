"""Problems for the out-of-core solvers, and the solvers run block by block in memory."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from lincorr.arrays import (
    like,
    namespace,
)
from lincorr.solvers import dual, gram, lowrank
from lincorr.solvers.cutoff import EPS64, noise_floor
from lincorr.solvers.eigen import eigenvectors
from lincorr.solvers.products import gram_tile
from lincorr.solvers.reduced import LeaveOneOut, Reduced, leave_one_out_block, scored_outputs
from tests.lincorr.solvers.problems import Floats, Put, centred, constant_column, duplicate_column, matrix


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


# --- the out-of-core methods, in memory ------------------------------------------------------------------


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
    known: dict[str, Any] = {
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
    found = eigenvectors(dual.double_centre(products), x.shape, noise=noise_of(problem), **options)
    xp = namespace(x)
    basis = xp.concat([dual.basis_panel(panel, found.vectors, found.values) for panel in panels], axis=0)
    return reduced(dual.METHOD, problem, x, y, found.vectors, found.values, found.cut, basis, found.residual)


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
    small = lowrank.decompose(iter(panels), problem.source.shape, noise=noise_of(problem), **options)
    basis = xp.concat([lowrank.basis_panel(panel, small) for panel in panels], axis=0)
    return reduced(lowrank.METHOD, problem, x, y, Q @ small.rotation, small.values, small.cut, basis, missed)


METHODS = {"gram": by_gram, "dual": by_dual, "lowrank": by_lowrank}

every_method = pytest.mark.parametrize("method", METHODS)


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


def allowed(problem: Case, method: str, values: Floats, rank: int) -> float:
    """How far a solution may be from gelsd's: rounding times κ, or κ² where the matrix is squared."""
    kappa = values[0] / values[rank - 1]
    size = np.linalg.norm(problem.source) / np.linalg.norm(centred(problem.source))
    power = 1 if method == "lowrank" else 2
    return float(1e3 * EPS64 * size * max(kappa, 10) ** power)
