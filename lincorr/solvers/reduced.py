"""The common result of the out-of-core decompositions: three small factors of the source and the targets.

With ``Xc ≈ U diag(s) Vᵀ`` cut at rank r, all that a solution needs of n rows is s (r,), V (p, r) and
``A = Uᵀ Yc`` (r, q):

    W = V C,    C = diag(s / (s² + λ)) A,

so every penalty costs r x q numbers, and W is a p x r and an r x q factor. Leave-one-out needs the rows of
U and Yc once more, block by block (`leave_one_out.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.scores.moments import Correlation, CrossMoments, finite_mean
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.leave_one_out import leave_one_out
from lincorr.solvers.result import Diagnosis, Factors, LinearMap, relative

LeftOut = Callable[[Sequence[float]], list[float]]  # √λ/σ₁ -> mean leave-one-out Pearson r
SCORED_OUTPUTS = 512  # leave-one-out scores at most this many outputs, evenly spaced


@dataclass(frozen=True, slots=True)
class Reduced:
    """A decomposed source and its targets in r coordinates, ready to be solved for any penalty.

    Attributes:
        values: s (r,), descending.
        basis: V (p, r).
        projected: A (r, q).
        source_mean, target_mean: (p,) and (q,).
        residual: error of the decomposition, relative to σ₁ or σ₁².
        left_out: scores penalties by leave-one-out.
    """

    method: str
    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    n_rows: int
    cut: Cut
    values: Array
    basis: Array
    projected: Array
    source_mean: Array
    target_mean: Array
    residual: float
    left_out: LeftOut

    def coefficients(self, penalty: float) -> Array:
        """Return C (r, q) for λ."""
        return (self.values / (self.values**2 + penalty))[:, None] * self.projected

    def leave_one_out_scores(self, root_penalties: Sequence[float]) -> list[float]:
        """Return the mean leave-one-out Pearson r for every √λ/σ₁."""
        return self.left_out(root_penalties)

    def certificates(self, solution: Array, penalty: float) -> tuple[float, float]:
        """Return the residual of the decomposition, and how much of W lies outside the kept directions."""
        xp = namespace(self.basis)
        norm = xp.linalg.matrix_norm
        overlap = self.basis.T @ self.basis
        outside = solution - overlap @ solution  # V times this is p x q, but its norm is not
        squared = float(xp.sum(outside * (overlap @ outside)))
        return self.residual, relative(math.sqrt(max(0.0, squared)), float(norm(solution)))

    def to_map(self, solution: Array, diagnosis: Diagnosis) -> LinearMap:
        """Return the map, with W as factors where those are smaller."""
        weights: NDArray[np.floating] | Factors
        (p, r), q = self.basis.shape, solution.shape[1]
        if p * q <= r * (p + q):
            weights = to_host(self.basis @ solution)
        else:
            weights = Factors(to_host(self.basis), np.eye(r), to_host(solution.T))
        intercept = self.target_mean - (self.source_mean @ self.basis) @ solution
        return LinearMap(self.source_ids, self.target_ids, weights, to_host(intercept), diagnosis)

    def rows(self, solution: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q); only these rows of V are used."""
        return namespace(solution).take(self.basis, like(positions, solution), axis=0) @ solution

    def coordinates(self, source: Array) -> Array:
        """Return the coordinates (n, r) of source logits (n, p), in which a solution is scored."""
        return (source - self.source_mean) @ self.basis

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score a solution on the moments of coordinates and target logits."""
        return moments.correlation(solution, self.target_mean)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Leave-one-out predictions of a block of rows against the truth, mergeable.

    Attributes:
        correlation: moments per output.
        interpolated: rows that fit themselves and have no leave-one-out prediction.
    """

    correlation: Correlation
    interpolated: int

    def merge(self, other: "LeaveOneOut") -> "LeaveOneOut":
        """Merge two blocks of rows."""
        return LeaveOneOut(self.correlation.merge(other.correlation), self.interpolated + other.interpolated)

    def score(self) -> float:
        """Return the mean Pearson r over the outputs; NaN if a row fits itself."""
        return math.nan if self.interpolated else finite_mean(self.correlation.pearson())

    def packed(self) -> NDArray[np.float64]:
        """Return the same numbers as one float64 array (7, q), to be stored."""
        c = self.correlation
        parts = [to_host(part) for part in (c.mean_x, c.mean_y, c.xx, c.yy, c.xy)]
        counts = [np.full_like(parts[0], count) for count in (c.count, self.interpolated)]
        return np.stack([*parts, *counts])

    @classmethod
    def unpacked(cls, packed: NDArray[np.floating]) -> "LeaveOneOut":
        """Undo `packed`."""
        *parts, count, interpolated = packed
        return cls(Correlation(int(count[0]), *parts), int(interpolated[0]))


def leave_one_out_block(
    left: Array, targets: Array, values: Array, projected: Array, penalties: Sequence[float], n_rows: int
) -> list[LeaveOneOut]:
    """Leave each row of a block out, for every λ; return one result a λ.

    Args:
        left: (b, r) rows of U.
        targets: (b, m) rows of some of the centred targets; projected: (r, m) their A.
        n_rows: n of all blocks.
    """
    xp = namespace(left, targets)
    found = []
    for predicted in leave_one_out(left, targets, values, projected, penalties, n_rows):
        alone = xp.any(xp.isnan(predicted), axis=1)
        predicted = xp.where(alone[:, None], targets, predicted)  # finite, to be merged; no score counts it
        count = int(xp.sum(xp.astype(alone, xp.int64)))
        found.append(LeaveOneOut(Correlation.of(predicted, targets), count))
    return found


def scored_outputs(n_outputs: int) -> NDArray[np.int64]:
    """Return the positions (m,) of the outputs that leave-one-out scores."""
    count = min(n_outputs, SCORED_OUTPUTS)
    return np.linspace(0, n_outputs - 1, count).round().astype(np.int64)
