"""What every solver returns: the fitted map and its diagnosis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array
from lincorr.solvers.cutoff import Cut

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class PathPoint:
    """One penalty of a ridge path and its leave-one-out score.

    Attributes:
        root_penalty: √λ / σ₁, free of the data's scale.
        score: mean leave-one-out Pearson r over the outputs; NaN where every row is interpolated.
    """

    root_penalty: float
    score: float


@dataclass(frozen=True, slots=True)
class RidgePath:
    """Leave-one-out scores along λ, and the two penalties that they choose.

    Attributes:
        points: ascending in penalty, λ = 0 first.
        best: √λ / σ₁ of the best-predicting penalty.
        reading: the largest √λ / σ₁ whose score is within 1 % of the best: nearly as good a prediction,
            and weights that read more clearly (in the spirit of the one-standard-error rule).
    """

    points: tuple[PathPoint, ...]
    best: float
    reading: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How far a fitted map can be trusted.

    Attributes:
        method, reason: which solver, and why it was chosen.
        n_rows: subjects that were fitted.
        cut: the rank decision.
        penalty: λ; 0.0 for minimum-norm least squares.
        root_penalty: √λ / σ₁.
        normal_residual: ‖Xᵀ(Y - XW) - λW‖ / (‖X‖(‖Y - XW‖ + ‖X‖‖W‖)) in the solver's coordinates, in the
            kept directions.
        min_norm_residual: ‖W - VVᵀW‖ / ‖W‖: how much of W lies outside the kept directions.
        path: the ridge path that chose λ, if one was walked.
    """

    method: str
    reason: str
    n_rows: int
    cut: Cut
    penalty: float
    root_penalty: float
    normal_residual: float
    min_norm_residual: float
    path: RidgePath | None = None

    def warning(self) -> str | None:
        """One sentence if the weights should not be read, else None."""
        if self.penalty == 0.0 and not self.cut.identified:
            return (
                f"W is not identified beyond rank {self.cut.rank} "
                f"(gap {self.cut.gap:.1f}); its predictions are"
            )
        return None


@dataclass(frozen=True, slots=True)
class Factors:
    """A matrix kept as two thin factors: ``left @ right.T``.

    Attributes:
        left: (p, r).
        right: (q, r).
    """

    left: Floats
    right: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q) of the product."""
        return (self.left.shape[0], self.right.shape[0])

    def __getitem__(self, index: tuple[Array, Array]) -> Floats:
        """Return the block of rows and columns; only what is asked for is multiplied out."""
        rows, columns = index
        block: Floats = self.left[rows] @ self.right[columns].T
        return block


Weights = Floats | Factors


def apply(data: Floats, weights: Weights) -> Floats:
    """Return ``data @ weights`` without multiplying factors out."""
    if isinstance(weights, Factors):
        product: Floats = (data @ weights.left) @ weights.right.T
        return product
    return data @ weights


@dataclass(frozen=True, slots=True)
class LinearMap:
    """``logits2 ≈ logits1 @ weights + intercept``.

    Attributes:
        source_ids: (p,) token ids of the rows of the weights.
        target_ids: (q,) token ids of its columns.
        weights: (p, q), dense or as factors.
        intercept: (q,).
        diagnosis: how it was found and how far to trust it.
        hidden_weights: (d, q), dense or as factors, and
        hidden_intercept: (q,), the same map from source hidden states, where it was fitted through them:
            predictions then need no source logits.
    """

    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    weights: Weights
    intercept: Floats
    diagnosis: Diagnosis
    hidden_weights: Weights | None = None
    hidden_intercept: Floats | None = None

    def predict(self, logits: Floats) -> Floats:
        """Return target logits (n, q) for source logits (n, p)."""
        return apply(logits, self.weights) + self.intercept

    def predict_from_hidden(self, hidden: Floats) -> Floats:
        """Return target logits (n, q) for source hidden states (n, d).

        Raises:
            ValueError: the map was fitted from logits.
        """
        if self.hidden_weights is None or self.hidden_intercept is None:
            raise ValueError("this map was fitted from logits, not through hidden states")
        return apply(hidden, self.hidden_weights) + self.hidden_intercept

    def block(self, source_ids: Sequence[int], target_ids: Sequence[int]) -> Floats:
        """Return the weights between given source and target tokens, (len(source), len(target)).

        Raises:
            KeyError: a token is not among the map's.
        """
        rows = _positions(self.source_ids, source_ids, "source")
        columns = _positions(self.target_ids, target_ids, "target")
        if isinstance(self.weights, Factors):
            return self.weights[rows, columns]
        return self.weights[np.ix_(rows, columns)]

    def strongest_targets(self, source_id: int, count: int = 5) -> list[tuple[int, float]]:
        """Return the target tokens of largest weight in a source's row, strongest first."""
        row = self.block([source_id], self.target_ids.tolist())[0]
        return _strongest(self.target_ids, row, count)

    def strongest_sources(self, target_id: int, count: int = 5) -> list[tuple[int, float]]:
        """Return the source tokens of largest weight in a target's column, strongest first."""
        column = self.block(self.source_ids.tolist(), [target_id])[:, 0]
        return _strongest(self.source_ids, column, count)


def _positions(known: NDArray[np.int64], wanted: Sequence[int], role: str) -> NDArray[np.int64]:
    if len(wanted) == len(known) and np.array_equal(known, wanted):
        return np.arange(len(known))
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)
    positions: NDArray[np.int64] = order[found]
    for token, position in zip(wanted, positions, strict=True):
        if known[position] != token:
            raise KeyError(f"token {token} is no {role} of this map")
    return positions


def _strongest(ids: NDArray[np.int64], weights: Floats, count: int) -> list[tuple[int, float]]:
    best = np.argsort(-weights, kind="stable")[:count]
    return [(int(ids[i]), float(weights[i])) for i in best]


def relative(numerator: float, denominator: float) -> float:
    """Return a ratio of norms, 0.0 where both vanish."""
    return numerator / denominator if denominator > 0 else (0.0 if numerator == 0 else math.inf)
