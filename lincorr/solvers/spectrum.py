"""Least-squares problems: one decomposition, then every penalty at little cost.

With the centred source ``Xc = U diag(s) Vᵀ`` (n x k, cut at rank r) and targets T (n x m),

    min ‖Tc - Xc C‖² + λ‖C‖²    has    C = V diag(s / (s² + λ)) Uᵀ Tc,

which for λ = 0 is the minimum-norm solution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace
from lincorr.errors import BadInput
from lincorr.scores.moments import Correlation, CrossMoments
from lincorr.solvers.cutoff import Cut, cut
from lincorr.solvers.result import Diagnosis, LinearMap, PathPoint, RidgePath
from lincorr.solvers.thin_svd import thin_svd

# √λ/σ₁ of the path. Four decades: logit spectra reach condition numbers of 1e4.
ROOT_PENALTIES: NDArray[np.float64] = np.concatenate([[0.0], np.logspace(-4, 0, 20)])
READING_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The thin SVD of a centred source, cut at its noise floor.

    Attributes:
        left: U (n, r).
        values: s (r,), descending.
        right: V (k, r).
        mean: (k,), subtracted from every row.
        cut: the rank decision.
    """

    left: Array
    values: Array
    right: Array
    mean: Array
    cut: Cut

    def project(self, targets: Array) -> Array:
        """Return Uᵀ T (r, m): all that a solution needs of centred targets T (n, m)."""
        return self.left.T @ targets


def spectrum(
    source: Array, *, noise: float, rank_limit: int | None = None, rcond: float | None = None
) -> Spectrum:
    """Centre and decompose a float64 source (n, k)."""
    xp = namespace(source)
    mean = xp.mean(source, axis=0)
    mean = mean + xp.mean(source - mean, axis=0)  # a rounded mean would leave a direction of its own
    left, values, right_t = thin_svd(source - mean)
    decision = cut(values, source.shape, noise=noise, rank_limit=rank_limit, rcond=rcond)
    r = decision.rank
    return Spectrum(left[:, :r], values[:r], right_t[:r, :].T, mean, decision)


class Problem(Protocol):
    """A least-squares problem in the coordinates where it is solved.

    Attributes:
        method: name of the solver.
        cut: the rank decision on its source.
        n_rows: n, the number of fitted rows.
    """

    @property
    def method(self) -> str: ...
    @property
    def cut(self) -> Cut: ...
    @property
    def n_rows(self) -> int: ...

    def coefficients(self, penalty: float) -> Array:
        """Return the solution C (k, m) for λ."""
        ...

    def leave_one_out_scores(self, root_penalties: Sequence[float]) -> list[float]:
        """Return the mean leave-one-out Pearson r for every √λ/σ₁; NaN where a row fits itself."""
        ...

    def certificates(self, solution: Array, penalty: float) -> tuple[float, float]:
        """Return the normal-equation and minimum-norm residuals of a solution."""
        ...

    def to_map(self, solution: Array, diagnosis: Diagnosis) -> LinearMap:
        """Turn coefficients C (k, m) into the map between logits."""
        ...

    def rows(self, solution: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q) at some positions, without forming the others."""
        ...

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score a solution on rows given by the moments of the data that the problem is stated in."""
        ...


def solve(
    problem: Problem, root_penalty: float = 0.0, *, reason: str = "", path: RidgePath | None = None
) -> LinearMap:
    """Solve a problem for one penalty, given as √λ/σ₁.

    Raises:
        BadInput: the penalty is negative.
    """
    solution = coefficients(problem, root_penalty)
    penalty = penalty_of(problem, root_penalty)
    normal, outside = problem.certificates(solution, penalty)
    diagnosis = Diagnosis(
        method=problem.method,
        reason=reason,
        n_rows=problem.n_rows,
        cut=problem.cut,
        penalty=penalty,
        root_penalty=root_penalty,
        normal_residual=normal,
        min_norm_residual=outside,
        path=path,
    )
    return problem.to_map(solution, diagnosis)


def coefficients(problem: Problem, root_penalty: float) -> Array:
    """Return the solution C (k, m) for one penalty, given as √λ/σ₁."""
    return problem.coefficients(penalty_of(problem, root_penalty))


def penalty_of(problem: Problem, root_penalty: float) -> float:
    """Return λ of √λ/σ₁.

    Raises:
        BadInput: it is negative.
    """
    if root_penalty < 0:
        raise BadInput(f"fit.penalty: {root_penalty:g} is negative; √λ/σ₁ is 0 or more")
    return (root_penalty * problem.cut.sigma_1) ** 2


def ridge_path(problem: Problem, root_penalties: NDArray[np.float64] = ROOT_PENALTIES) -> RidgePath:
    """Score every penalty by leave-one-out; choose the best one and the reading one (`RidgePath`)."""
    roots = [float(root) for root in np.sort(root_penalties)]
    scores = problem.leave_one_out_scores(roots)
    points = tuple(PathPoint(root, score) for root, score in zip(roots, scores, strict=True))
    scored = [point for point in points if not math.isnan(point.score)]
    if not scored:  # too few rows to leave one out: the strongest penalty is the safest
        return RidgePath(points, points[-1].root_penalty, points[-1].root_penalty)
    best = max(scored, key=lambda point: point.score)
    enough = best.score - (1 - READING_SHARE) * abs(best.score)
    reading = max(point.root_penalty for point in scored if point.score >= enough)
    return RidgePath(points, best.root_penalty, reading)
