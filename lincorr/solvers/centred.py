"""A map as it is read: each source's weights relative to their mean over the targets.

Next-token logits mean something only up to a constant for each prompt, which softmax does not see. So adding
one number to all target logits of a subject changes no answer, and adding any vector u (p,) to every column,
``W + u 1ᵀ``, changes no probability: a row's mean over the targets is not knowledge. Within a row nothing is
ranked otherwise without it. A *column*, which compares sources with each other, is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lincorr.arrays import Array, namespace
from lincorr.readout import Readout
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.result import Factors, Floats, LinearMap, Tiles, Weights

_PANEL_ROWS = 1024  # of tiles on disk that are averaged at a time


def centred(fitted: LinearMap) -> LinearMap:
    """Return the map whose rows and intercept are centred over its own targets.

    It predicts what the map predicts, less each subject's mean over the targets. Nothing is multiplied out,
    and tiles stay on disk.
    """
    hidden = fitted.hidden
    if hidden is not None:
        hidden = replace(hidden, target_head=_centred_head(hidden.target_head))
    return replace(
        fitted,
        weights=_centred_weights(fitted.weights),
        intercept=fitted.intercept - fitted.intercept.mean(),
        hidden=hidden,
    )


def centred_rows(weights: Array) -> Array:
    """Return weights or logits (p, q) less each row's mean."""
    return weights - namespace(weights).mean(weights, axis=1, keepdims=True)


def pooled_rows(blocks: Sequence[Floats], shares: Floats | None = None) -> Floats:
    """Return the mean of several maps' weights (p, q), each centred and divided by its Frobenius norm.

    A map of larger weights says no more than another one; zeros add nothing.

    Args:
        shares: (maps,) what each counts; by default all the same.
    """
    centred_blocks = [centred_rows(block) for block in blocks]
    norms = [np.linalg.norm(block) or 1.0 for block in centred_blocks]
    unit = [block / norm for block, norm in zip(centred_blocks, norms, strict=True)]
    pooled: Floats = np.average(unit, axis=0, weights=shares)
    return pooled


def centred_problem(problem: Direct | Factored) -> Direct | Factored:
    """Return the problem whose targets are each row's logits less their mean: nothing is decomposed again."""
    if isinstance(problem, Factored):
        return problem.for_targets(_centred_head(problem.target_head), problem.target_ids)
    return problem.with_centred(centred_rows(problem.targets))


@dataclass(frozen=True)
class CentredTiles:
    """Tiles on disk, read less each row's mean."""

    tiles: Tiles

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return self.tiles.shape

    def __getitem__(self, index: tuple[Any, Any]) -> Floats:
        """Return the block of rows and columns."""
        block: Floats = self.tiles[index] - np.atleast_1d(self._means[index[0]])[:, None]
        return block

    def after(self, logits: Floats) -> Floats:
        """Return ``logits @ W`` (n, q), less each row's mean."""
        product: Floats = centred_rows(self.tiles.after(logits))
        return product

    @cached_property
    def _means(self) -> Floats:
        """(p,) the mean of each row; every tile is read once."""
        height, columns = self.shape[0], np.arange(self.shape[1])
        panels = (
            np.arange(start, min(start + _PANEL_ROWS, height)) for start in range(0, height, _PANEL_ROWS)
        )
        return np.concatenate([self.tiles[rows, columns].mean(axis=1) for rows in panels])


def _centred_weights(weights: Weights) -> Weights:
    if isinstance(weights, Factors):
        return replace(weights, right=weights.right - weights.right.mean(axis=0))
    if isinstance(weights, np.ndarray):
        rows: Floats = centred_rows(weights)
        return rows
    return CentredTiles(weights)


def _centred_head(head: Readout) -> Readout:
    xp = namespace(head.weight)
    bias = None if head.bias is None else head.bias - xp.mean(head.bias)
    return replace(head, weight=head.weight - xp.mean(head.weight, axis=0), bias=bias)
