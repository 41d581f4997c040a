"""The whole problem in memory, in float64: small problems, and the oracle for other solvers.

``min ‖Yc - Xc W‖² + λ‖W‖²`` with X (n, p) and Y (n, q) logits. Cost ``O(n p min(n, p))``, once for any
number of targets and penalties. Rank lost to too few rows or to rounding gives the minimum-norm W.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, like, namespace, to_host
from lincorr.scores.moments import Correlation, CrossMoments
from lincorr.solvers.cutoff import noise_floor
from lincorr.solvers.decomposed import FromSpectrum
from lincorr.solvers.result import Diagnosis, LinearMap
from lincorr.solvers.spectrum import Spectrum, spectrum

METHOD = "direct"


@dataclass(frozen=True, slots=True)
class Direct(FromSpectrum):
    """Source and target logits, ready to be solved for any penalty.

    Attributes:
        source_ids, target_ids: (p,) and (q,) token ids.
        spectrum: of the centred source (n, p).
        targets, projected: (n, q) and (r, q), as in `Decomposed`.
        target_mean: (q,).
    """

    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    spectrum: Spectrum
    targets: Array
    projected: Array
    target_mean: Array
    method: str = METHOD
    readout: None = None

    def to_map(self, coefficients: Array, diagnosis: Diagnosis) -> LinearMap:
        """Return the map: its weights are the coefficients (p, q)."""
        intercept = self.target_mean - self.spectrum.mean @ coefficients
        return LinearMap(
            self.source_ids,
            self.target_ids,
            to_host(coefficients),
            to_host(intercept),
            diagnosis,
        )

    def rows(self, coefficients: Array, positions: NDArray[np.int64]) -> Array:
        """Return the rows of W (len(positions), q)."""
        xp = namespace(coefficients)
        return xp.take(coefficients, like(positions, coefficients), axis=0)

    def score(self, coefficients: Array, moments: CrossMoments) -> Correlation:
        """Score a solution on the moments of source and target logits."""
        return moments.correlation(coefficients, self.target_mean - self.spectrum.mean @ coefficients)

    def with_targets(self, target: Array, target_ids: NDArray[np.int64]) -> "Direct":
        """Return the problem of the same source rows and another prompt's logits Y (n, q)."""
        mean = namespace(target).mean(target, axis=0)
        return replace(self.with_centred(target - mean), target_mean=mean, target_ids=target_ids)


def direct(
    source: Array,
    target: Array,
    *,
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    storage_eps: float,
    rank_limit: int | None = None,
    rcond: float | None = None,
) -> Direct:
    """Set up float64 logits X (n, p) and Y (n, q) that were stored with relative precision `storage_eps`.

    Args:
        rank_limit: the model's width, which the rank of logits of a linear head cannot exceed.
        rcond: keep singular values above ``rcond · σ₁`` instead of the noise-aware rule.
    """
    xp = namespace(source, target)
    noise = noise_floor(
        xp.sqrt(xp.sum(source * source, axis=1)),
        xp.sqrt(xp.sum(source * source, axis=0)),
        storage_eps,
    )
    mean = xp.mean(target, axis=0)
    decomposed = spectrum(source, noise=noise, rank_limit=rank_limit, rcond=rcond)
    targets = target - mean
    return Direct(source_ids, target_ids, decomposed, targets, decomposed.project(targets), mean)
