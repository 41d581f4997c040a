"""Hubs: sources that are among the strongest of far more targets than chance gives.

A target's strongest sources are those of the `top` largest weights of its column of W. If the weights of
every column were in random order, a source's count of such targets would be binomial: q draws, each with
probability top / p.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RARE = 0.05


@dataclass(frozen=True, slots=True)
class HubCounts:
    """Counts of the targets that each source dominates.

    Attributes:
        top: how many strongest sources of a target count.
        counts: (p,) int64 targets among whose strongest sources the source is.
        by_target: (q, top) int64 positions of each target's strongest sources, strongest first.
    """

    top: int
    counts: NDArray[np.int64]
    by_target: NDArray[np.int64]

    @property
    def expected(self) -> float:
        """The mean count of a source if weights were in random order."""
        return len(self.by_target) * self.top / len(self.counts)

    @property
    def bound(self) -> int:
        """The count that the largest of all sources exceeds in fewer than one of twenty random orders.

        From the binomial's tail at 0.05 / p (a union bound over the sources).
        """
        from scipy.special import bdtrc  # the binomial's tail; scipy.stats takes half a second to import

        sources, targets = len(self.counts), len(self.by_target)
        tail = bdtrc(np.arange(targets + 1), targets, self.top / sources)
        return int(np.argmax(tail <= _RARE / sources))

    def strongest(self, count: int) -> NDArray[np.int64]:
        """Return the positions of the sources with the greatest counts, greatest first."""
        return np.argsort(-self.counts, kind="stable")[:count]


def count_hubs(blocks: Iterable[NDArray[np.floating]], top: int) -> HubCounts:
    """Count from blocks of columns of W, (p, any number of targets) each.

    Raises:
        ValueError: there is no block.
    """
    strongest = []
    for block in blocks:
        sources = block.shape[0]
        count = min(top, sources)
        best = np.argpartition(-block, count - 1, axis=0)[:count]
        order = np.argsort(-np.take_along_axis(block, best, axis=0), axis=0, kind="stable")
        strongest.append(np.take_along_axis(best, order, axis=0).T)
    if not strongest:
        raise ValueError("no columns to count in")
    by_target = np.concatenate(strongest).astype(np.int64)
    counts = np.bincount(by_target.ravel(), minlength=sources).astype(np.int64)
    return HubCounts(by_target.shape[1], counts, by_target)
