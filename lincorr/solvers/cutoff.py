"""The one rule that decides rank: singular values that storage rounding could have made count as zero.

Logits have rank <= d, but rounding them for storage makes them numerically full rank; a cutoff of
``eps · max(n, p)`` then inverts rounding noise and W is unreadable. So the cutoff knows the precision
the data was stored in. With the rounding error of an entry ``b_ij = ulp(x_ij) / √12`` the noise's
largest singular value is about

    τ = max_i ‖b_i·‖ + max_j ‖b_·j‖        (after Bandeira & van Handel, Ann. Probab. 2016)

and singular values <= τ are dropped. ``ulp(x) <= eps · |x|`` bounds it from the norms of the data alone.
"""

import math
from dataclasses import dataclass

import numpy as np

from lincorr.arrays import Array, namespace, to_host

EPS64 = float(np.finfo(np.float64).eps)
CLEAR_GAP = 10.0


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a spectrum is cut.

    Attributes:
        rank: r, the number of singular values kept.
        noise_floor: τ of the stored data.
        threshold: what was applied: the larger of τ and float64's own ``eps · max(n, p) · σ₁``, or
            the caller's ``rcond · σ₁``.
        sigma_1, sigma_r, sigma_next: the largest, the last kept and the first dropped singular value
            (0.0 where there is none).
        resolution: the smallest σ that the method can tell from zero; where it dropped something, σ_{r+1}
            may be as large as this.
    """

    rank: int
    noise_floor: float
    threshold: float
    sigma_1: float
    sigma_r: float
    sigma_next: float
    resolution: float = 0.0

    @property
    def gap(self) -> float:
        """σ_r / σ_{r+1}; infinite if nothing but zeros was dropped."""
        return self.sigma_r / self.sigma_next if self.sigma_next > 0 else math.inf

    @property
    def identified(self) -> bool:
        """Whether the cut falls into a clear gap; otherwise W is not identified beyond rank r."""
        return self.gap >= CLEAR_GAP


def noise_floor(norms_by_row: Array, norms_by_column: Array, storage_eps: float) -> float:
    """Return τ from the (n,) row norms and (k,) column norms of the stored, uncentred data."""
    xp = namespace(norms_by_row, norms_by_column)
    largest = float(xp.max(norms_by_row)) + float(xp.max(norms_by_column))
    return storage_eps / math.sqrt(12) * largest


def cut(
    values: Array,
    shape: tuple[int, int],
    *,
    noise: float = 0.0,
    rank_limit: int | None = None,
    rcond: float | None = None,
    squared: bool = False,
) -> Cut:
    """Decide the rank of descending singular `values` (k,) of a matrix of `shape`.

    Args:
        noise: τ of the stored data.
        rank_limit: a rank that the exact data cannot exceed (the model's width), if known.
        rcond: overrides the rule: keep values above ``rcond · σ₁``.
        squared: the values are roots of a Gram matrix's eigenvalues, and those are known to
            ``eps · max(n, p) · σ₁²`` only: what lies below ``√(eps · max(n, p)) · σ₁`` is not resolved.
    """
    sigma: list[float] = to_host(values).tolist()
    sigma_1 = sigma[0] if sigma else 0.0
    share = EPS64 * max(shape)
    own = (math.sqrt(share) if squared else share) * sigma_1
    threshold = max(noise, own) if rcond is None else rcond * sigma_1
    if squared:
        threshold = max(threshold, own)
    rank = sum(v > threshold for v in sigma)
    if rank_limit is not None:
        rank = min(rank, rank_limit)
    dropped = sigma[rank] if rank < len(sigma) else 0.0
    unresolved = own if squared and rank < len(sigma) else 0.0
    return Cut(
        rank=rank,
        noise_floor=noise,
        threshold=threshold,
        sigma_1=sigma_1,
        sigma_r=sigma[rank - 1] if rank else 0.0,
        sigma_next=dropped if dropped > own else unresolved,
        resolution=own,
    )
