"""A stored map as a problem that is solved already: what a tiled fit leaves for `evaluate`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like
from lincorr.scores.moments import Correlation, CrossMoments
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, LinearMap


@dataclass(frozen=True, slots=True)
class Solved:
    """A stored map, for its one penalty.

    Its solution is the identity, which is scored on the moments of predictions and truths.

    Attributes:
        fitted: the map, most often with its weights on disk.
    """

    fitted: LinearMap

    @property
    def method(self) -> str:
        """Name of the solver."""
        return self.fitted.diagnosis.method

    @property
    def cut(self) -> Cut:
        """The rank decision."""
        return self.fitted.diagnosis.cut

    @property
    def n_rows(self) -> int:
        """n, the number of fitted rows."""
        return self.fitted.diagnosis.n_rows

    def coefficients(self, penalty: float) -> Array:
        """Return the identity, (q, q).

        Raises:
            ValueError: the map was fitted with another penalty.
        """
        fitted = self.fitted.diagnosis.penalty
        if abs(penalty - fitted) > 1e-9 * fitted:
            raise ValueError("a tiled map is solved for one penalty")
        return np.eye(len(self.fitted.target_ids))

    def leave_one_out_scores(self, root_penalties: object) -> list[float]:
        """Refuse: each score would cost a fit.

        Raises:
            ValueError: always.
        """
        raise ValueError("a tiled map has no leave-one-out scores")

    def certificates(self, solution: Array, penalty: float) -> tuple[float, float]:
        """Return the residuals stored with the map."""
        return self.fitted.diagnosis.normal_residual, self.fitted.diagnosis.min_norm_residual

    def to_map(self, solution: Array, diagnosis: Diagnosis) -> LinearMap:
        """Return the stored map."""
        return self.fitted

    def rows(self, solution: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q); only their tiles are read."""
        return self.fitted.weights[positions, np.arange(len(self.fitted.target_ids))]

    def coordinates(self, source: Array) -> Array:
        """Return predictions (n, q) for source logits (n, p)."""
        return self.fitted.predict(source)

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score on the moments of predictions and target logits."""
        nothing = like(np.zeros(len(self.fitted.target_ids)), moments.xx)
        return moments.correlation(solution, nothing)
