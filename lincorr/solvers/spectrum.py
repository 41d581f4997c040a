"""Least squares from one thin SVD: every penalty, and leave-one-out, nearly free.

With the centred source ``Xc = U diag(s) Vᵀ`` (n x k, cut at rank r) and targets T (n x m),

    min ‖Tc - Xc C‖² + λ‖C‖²    has    C = V diag(s / (s² + λ)) Uᵀ Tc,

which for λ = 0 is the minimum-norm solution. The leave-one-out residual of row i is ``e_i / (1 - h_i)``
with ``h_i = 1/n + Σ_j U_ij² s_j² / (s_j² + λ)``; the 1/n is the intercept's share (Hastie, Tibshirani &
Friedman, The Elements of Statistical Learning, 7.10).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, namespace
from lincorr.errors import BadInput
from lincorr.scores.moments import Correlation, CrossMoments, Truth
from lincorr.solvers.cutoff import Cut, cut
from lincorr.solvers.result import Diagnosis, LinearMap, PathPoint, RidgePath, relative
from lincorr.solvers.thin_svd import thin_svd

# √λ/σ₁ of the path. Four decades: logit spectra reach condition numbers of 1e4.
ROOT_PENALTIES: NDArray[np.float64] = np.concatenate([[0.0], np.logspace(-4, 0, 20)])
READING_SHARE = 0.99
INTERPOLATED = 1e-9  # 1 - h below this: the row fits itself


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The thin SVD of a centred source, cut at its noise floor.

    Attributes:
        left: U (n, r).
        values: s (r,), descending.
        right: V (k, r).
        mean: (k,) what was subtracted from every row.
        cut: the rank decision.
    """

    left: Array
    values: Array
    right: Array
    mean: Array
    cut: Cut

    def project(self, targets: Array) -> Array:
        """Return Uᵀ T (r, m), all that a solution needs of centred targets T (n, m)."""
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
        n_rows: n, the rows that are fitted.
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
        """Return some rows (len(positions), q) of W, without the others."""
        ...

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score a solution on rows whose moments, of such data as the problem is made of, are given."""
        ...


class Decomposed(Protocol):
    """A problem whose source's thin SVD and whose targets are in memory.

    Attributes:
        spectrum: of the source, in k coordinates.
        targets: (n, m) centred targets.
        projected: (r, m) Uᵀ T, found once for all penalties.
        readout: (q, m) with ``outputs = targets @ readout.T``; None where the outputs are the targets.
    """

    @property
    def spectrum(self) -> Spectrum: ...
    @property
    def targets(self) -> Array: ...
    @property
    def projected(self) -> Array: ...
    @property
    def readout(self) -> Array | None: ...


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
    """Score every penalty by leave-one-out and choose the best one and the reading one."""
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


# --- with the thin SVD at hand ------------------------------------------------------------------------


def minimiser(problem: Decomposed, penalty: float) -> Array:
    """Return C for λ; the minimum-norm one for λ = 0."""
    s, V = problem.spectrum.values, problem.spectrum.right
    return V @ (_column(s / (s * s + penalty)) * problem.projected)


def leave_one_out(problem: Decomposed, root_penalty: float) -> Array:
    """Return the leave-one-out predictions (n, m) of the centred targets; NaN in interpolated rows."""
    U, s = problem.spectrum.left, problem.spectrum.values
    xp = namespace(U, problem.targets)
    shrink = s * s / (s * s + (root_penalty * problem.spectrum.cut.sigma_1) ** 2)
    fitted = U @ (_column(shrink) * problem.projected)
    left_over = 1 - 1 / U.shape[0] - xp.sum(U * U * shrink[None, :], axis=1)
    nan = xp.full_like(left_over, math.nan)
    left_over = xp.where(left_over < INTERPOLATED, nan, left_over)
    return problem.targets - (problem.targets - fitted) / _column(left_over)


def scores_left_out(problem: Decomposed, root_penalties: Sequence[float]) -> list[float]:
    """Return the mean leave-one-out Pearson r for every √λ/σ₁; NaN where a row fits itself."""
    truth = Truth.of(problem.targets, problem.readout)
    return [_score_left_out(problem, truth, root) for root in root_penalties]


def _score_left_out(problem: Decomposed, truth: Truth, root_penalty: float) -> float:
    predicted = leave_one_out(problem, root_penalty)
    xp = namespace(predicted)
    if not bool(xp.all(xp.isfinite(predicted))):
        return math.nan
    return truth.mean_pearson(predicted)


def residuals(problem: Decomposed, solution: Array, penalty: float) -> tuple[float, float]:
    """Return the normal-equation and minimum-norm residuals of a solution."""
    U, s, V = problem.spectrum.left, problem.spectrum.values, problem.spectrum.right
    norm = namespace(U, solution).linalg.matrix_norm
    inner = V.T @ solution  # (r, m), in the kept directions
    residual = problem.targets - U @ (_column(s) * inner)
    gradient = _column(s) * (U.T @ residual) - penalty * inner
    largest = problem.spectrum.cut.sigma_1
    size = float(norm(solution))
    scale = largest * (float(norm(residual)) + largest * size)
    return (
        relative(float(norm(gradient)), scale),
        relative(float(norm(solution - V @ inner)), size),
    )


def _column(vector: Array) -> Array:
    return vector[:, None]
