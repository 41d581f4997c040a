"""Problems whose source's thin SVD and whose targets are in memory (`direct.py`, `factored.py`)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

from lincorr.arrays import Array, namespace
from lincorr.scores.moments import Truth
from lincorr.solvers.cutoff import Cut
from lincorr.solvers.leave_one_out import leave_one_out
from lincorr.solvers.result import relative
from lincorr.solvers.spectrum import Spectrum


class Decomposed(Protocol):
    """A dataclass with the thin SVD of a source and its targets.

    Attributes:
        spectrum: of the source, in k coordinates.
        targets: (n, m) centred targets.
        projected: (r, m) Uᵀ T, computed once for all penalties.
        readout: (q, m) with ``outputs = targets @ readout.T``; None where the outputs are the targets.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def spectrum(self) -> Spectrum: ...
    @property
    def targets(self) -> Array: ...
    @property
    def projected(self) -> Array: ...
    @property
    def readout(self) -> Array | None: ...


D = TypeVar("D", bound=Decomposed)

FEW_OUTPUTS = 2  # times the targets' columns: leaving out is shorter for so many outputs than for the targets


class FromSpectrum:
    """The part of a problem (`spectrum.Problem`) that follows from what is `Decomposed`."""

    __slots__ = ()

    @property
    def cut(self: Decomposed) -> Cut:
        """The rank decision."""
        return self.spectrum.cut

    @property
    def n_rows(self: Decomposed) -> int:
        """n, the number of fitted rows."""
        return int(self.targets.shape[0])

    def coefficients(self: Decomposed, penalty: float) -> Array:
        """Return the solution C (k, m) for λ; the minimum-norm one for λ = 0."""
        s, V = self.spectrum.values, self.spectrum.right
        return V @ (_column(s / (s * s + penalty)) * self.projected)

    def leave_one_out_scores(self: Decomposed, root_penalties: Sequence[float]) -> list[float]:
        """Return the mean leave-one-out Pearson r for every √λ/σ₁; NaN where a row fits itself."""
        targets, projected, readout = self.targets, self.projected, self.readout
        if readout is not None and readout.shape[0] < FEW_OUTPUTS * readout.shape[1]:
            targets, projected, readout = targets @ readout.T, projected @ readout.T, None
        truth, found = Truth.of(targets, readout), self.spectrum
        penalties = [(root * found.cut.sigma_1) ** 2 for root in root_penalties]
        predictions = leave_one_out(found.left, targets, found.values, projected, penalties, targets.shape[0])
        return [_score(truth, predicted) for predicted in predictions]

    def certificates(self: Decomposed, solution: Array, penalty: float) -> tuple[float, float]:
        """Return the normal-equation and minimum-norm residuals of a solution."""
        U, s, V = self.spectrum.left, self.spectrum.values, self.spectrum.right
        norm = namespace(U, solution).linalg.matrix_norm
        inner = V.T @ solution  # (r, m), in the kept directions
        residual = self.targets - U @ (_column(s) * inner)
        gradient = _column(s) * (U.T @ residual) - penalty * inner
        largest = self.spectrum.cut.sigma_1
        size = float(norm(solution))
        scale = largest * (float(norm(residual)) + largest * size)
        return (
            relative(float(norm(gradient)), scale),
            relative(float(norm(solution - V @ inner)), size),
        )

    def with_centred(self: D, targets: Array) -> D:
        """Return the problem of the same source rows and other centred targets (n, m) of the same tokens."""
        return replace(self, targets=targets, projected=self.spectrum.project(targets))


def _score(truth: Truth, predicted: Array) -> float:
    xp = namespace(predicted)
    if not bool(xp.all(xp.isfinite(predicted))):
        return math.nan
    return truth.mean_pearson(predicted)


def _column(vector: Array) -> Array:
    return vector[:, None]
