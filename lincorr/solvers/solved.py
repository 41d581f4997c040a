"""A problem that was solved out of core, read back from its scratch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like
from lincorr.scores.moments import Correlation, CrossMoments
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.result import Diagnosis, LinearMap

# --- evaluation ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A map that is kept, as a problem that is solved already, for its one penalty.

    Its solution is the identity: it is scored on the moments of predictions and truths.
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
        """Rows that were fitted."""
        return self.fitted.diagnosis.n_rows

    def coefficients(self, penalty: float) -> Array:
        """Return the identity, (q, q).

        Raises:
            ValueError: it was fitted with another penalty.
        """
        kept = self.fitted.diagnosis.penalty
        if abs(penalty - kept) > 1e-9 * kept:
            raise ValueError("a tiled map is solved for one penalty")
        return np.eye(len(self.fitted.target_ids))

    def leave_one_out_scores(self, root_penalties: object) -> list[float]:
        """There are none: each would cost a fit.

        Raises:
            ValueError: always.
        """
        raise ValueError("a tiled map has no leave-one-out scores")

    def certificates(self, solution: Array, penalty: float) -> tuple[float, float]:
        """Return those that were kept."""
        return self.fitted.diagnosis.normal_residual, self.fitted.diagnosis.min_norm_residual

    def to_map(self, solution: Array, diagnosis: Diagnosis) -> LinearMap:
        """Return the kept map."""
        return self.fitted

    def rows(self, solution: Array, positions: NDArray[np.int64]) -> Array:
        """Return rows of W."""
        return self.fitted.weights[positions, np.arange(len(self.fitted.target_ids))]

    def coordinates(self, source: Array) -> Array:
        """Return predictions (n, q) for source logits (n, p)."""
        return self.fitted.predict(source)

    def score(self, solution: Array, moments: CrossMoments) -> Correlation:
        """Score on the moments of predictions and target logits."""
        nothing = like(np.zeros(len(self.fitted.target_ids)), moments.xx)
        return moments.correlation(solution, nothing)
