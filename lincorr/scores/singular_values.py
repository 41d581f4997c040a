"""What singular values say: an effective rank, and the exponent of a power law."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST = 10
"""The first singular value of a power law's range: those before it are a few directions of their own."""
_FEWEST = 10  # singular values of a range, of which a line says something


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``σ_i = scale · i^-exponent`` over the singular values number `first` to `last`, counted from 1.

    Attributes:
        r2: the share of the variance of log σ_i that the line explains, weighted as it was fitted.
    """

    exponent: float
    scale: float
    first: int
    last: int
    r2: float


def of_gram(gram: Floats) -> Floats:
    """Return the singular values (m,) of A, descending, from ``A Aᵀ`` or ``Aᵀ A`` (m, m) in float64.

    They are exact to about 1e-8 of the largest.
    """
    found: Floats = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
    return found


def effective_rank(values: Floats, share: float) -> int:
    """Return how many singular values, descending, exceed a share of the largest."""
    return int((values > share * values[0]).sum()) if len(values) else 0


def power_law(values: Floats, last: int) -> PowerLaw | None:
    """Return the least-squares line of log σ_i on log i, for i from `FIRST` to `last`.

    i has the weight 1/i, so that every decade counts alike: else most of the weight lay on the last one. None
    where there are fewer than ten, or one is zero.
    """
    index = np.arange(FIRST, min(last, len(values)) + 1)
    chosen = values[FIRST - 1 : last]
    if len(index) < _FEWEST or (chosen <= 0).any():
        return None
    x, y, weights = np.log(index), np.log(chosen), 1 / index
    slope, height = np.polyfit(x, y, 1, w=np.sqrt(weights))
    (xx, xy), (_, yy) = np.cov(x, y, aweights=weights)
    return PowerLaw(float(-slope), float(np.exp(height)), FIRST, int(index[-1]), float(xy**2 / (xx * yy)))
