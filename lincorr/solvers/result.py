"""The result of every solver: the fitted map and its diagnosis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lincorr.facts import facts_html
from lincorr.readout import Readout
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

    def score(self, root_penalty: float) -> float:
        """The leave-one-out score of one of the path's penalties; NaN of another."""
        return next((p.score for p in self.points if p.root_penalty == root_penalty), math.nan)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How far a fitted map can be trusted.

    Attributes:
        method, reason: which solver, and why it was chosen.
        n_rows: n, the number of fitted rows.
        cut: the rank decision.
        penalty: λ; 0.0 for minimum-norm least squares.
        root_penalty: √λ / σ₁.
        normal_residual: ‖Xᵀ(Y - XW) - λW‖ / (‖X‖(‖Y - XW‖ + ‖X‖‖W‖)) in the solver's coordinates, in the
            kept directions.
        min_norm_residual: ‖W - VVᵀW‖ / ‖W‖: how much of W lies outside the kept directions.
        path: the ridge path that chose λ, if there is one.
        loo_r: mean leave-one-out r at this λ of the targets' logits, half as they are and half centred over
            the targets (out of core: as they are); NaN where it is not known.
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
    loo_r: float = math.nan

    def warning(self) -> str | None:
        """One sentence if the weights should not be read, else None."""
        if self.penalty == 0.0 and not self.cut.identified:
            blunt = self.cut.sigma_next == self.cut.resolution > self.cut.noise_floor
            why = f"{self.method} resolves nothing smaller" if blunt else f"gap {self.cut.gap:.1f}"
            return f"W is not identified beyond rank {self.cut.rank} ({why}); its predictions are"
        return None


@dataclass(frozen=True, slots=True)
class Factors:
    """A matrix as factors: ``left @ core @ right.T``; for W, head rows on both sides of a small core.

    Attributes:
        left: (p, r).
        core: (r, s).
        right: (q, s).
    """

    left: Floats
    core: Floats
    right: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q) of the product."""
        return (self.left.shape[0], self.right.shape[0])

    def __getitem__(self, index: tuple[Any, Any]) -> Floats:
        """Return the block of rows and columns; nothing else is multiplied out."""
        rows, columns = index
        left, right = np.atleast_2d(self.left[rows]), np.atleast_2d(self.right[columns])
        # the cheaper order of the two
        if left.shape[0] <= right.shape[0]:
            block: Floats = (left @ self.core) @ right.T
        else:
            block = left @ (self.core @ right.T)
        return block


class Tiles(Protocol):
    """A dense W that stays on disk."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __getitem__(self, index: tuple[Any, Any]) -> Floats:
        """Return the block of rows and columns (integer arrays); only its tiles are read."""
        ...

    def after(self, logits: Floats) -> Floats:
        """Return ``logits @ W``, tile by tile."""
        ...


Weights = Floats | Factors | Tiles


@dataclass(frozen=True, slots=True)
class HiddenMap:
    """A map between hidden states: ``H2 ≈ H1 @ weights + intercept``, read out by the target's head.

    Attributes:
        weights: (d, d).
        intercept: (d,).
        core: (d, d) with ``W = E1 @ core @ E2.T`` for heads E1 (p, d) and E2 (q, d): the same map between
            the logits of any tokens.
        source_mean: (d,) of the source hidden states that were fitted.
        target_head: the head rows of the target tokens.
    """

    weights: Floats
    intercept: Floats
    core: Floats
    source_mean: Floats
    target_head: Readout


def map_through(
    hidden: HiddenMap,
    source_head: Readout,
    *,
    source_ids: NDArray[np.int64],
    target_ids: NDArray[np.int64],
    diagnosis: Diagnosis,
) -> "LinearMap":
    """Make the map between logits of the source and target tokens out of that between hidden states."""
    left = source_head.scaled
    weights = Factors(left, hidden.core, hidden.target_head.weight)
    if hidden.target_head.scale != 1.0:
        weights = replace(weights, core=hidden.core * hidden.target_head.scale)
    # at the mean of the rows that were fitted, both maps predict the same
    mean = hidden.source_mean[None, :]
    predicted = hidden.target_head.logits(mean @ hidden.weights + hidden.intercept)[0]
    source_mean = source_head.logits(mean)[0]
    intercept = predicted - ((source_mean @ weights.left) @ weights.core) @ weights.right.T
    return LinearMap(source_ids, target_ids, weights, intercept, diagnosis, hidden)


@dataclass(frozen=True, slots=True)
class LinearMap:
    """``logits2 ≈ logits1 @ weights + intercept``.

    Attributes:
        source_ids: (p,) token ids of the rows of the weights.
        target_ids: (q,) token ids of its columns.
        weights: (p, q), dense, as factors, or in tiles on disk.
        intercept: (q,).
        diagnosis: how it was found and how far to trust it.
        hidden: the same map from source hidden states, where it was fitted through them.
    """

    source_ids: NDArray[np.int64]
    target_ids: NDArray[np.int64]
    weights: Weights
    intercept: Floats
    diagnosis: Diagnosis
    hidden: "HiddenMap | None" = None

    def __repr__(self) -> str:
        found, (p, q) = self.diagnosis, self.weights.shape
        root, rank = found.root_penalty, found.cut.rank
        return f"<LinearMap {p:,} x {q:,}: {found.method}, √λ/σ₁ {root:.3g}, rank {rank:,}>"

    def _repr_html_(self) -> str:
        found, weights = self.diagnosis, self.weights
        form = "dense" if isinstance(weights, np.ndarray) else "tiles on disk"
        if isinstance(weights, Factors):
            form = f"factors around a core {weights.core.shape[0]:,} x {weights.core.shape[1]:,}"
        facts = [
            ("weights", f"{weights.shape[0]:,} sources x {weights.shape[1]:,} targets, {form}"),
            ("method", f"{found.method}, of {found.n_rows:,} rows"),
            ("√λ/σ₁", f"{found.root_penalty:.3g}"),
            ("rank", f"{found.cut.rank:,}, gap {found.cut.gap:.3g}"),
        ]
        return facts_html("LinearMap", facts, found.warning())

    def predict(self, logits: Floats) -> Floats:
        """Return target logits (n, q) for source logits (n, p)."""
        if isinstance(self.weights, Factors):
            w = self.weights
            return ((logits @ w.left) @ w.core) @ w.right.T + self.intercept
        if isinstance(self.weights, np.ndarray):
            return logits @ self.weights + self.intercept
        return self.weights.after(logits) + self.intercept

    def predict_from_hidden(self, hidden: Floats) -> Floats:
        """Return target logits (n, q) for source hidden states (n, d).

        Raises:
            ValueError: the map was fitted from logits.
        """
        if self.hidden is None:
            raise ValueError("this map was fitted from logits, not through hidden states")
        states = hidden @ self.hidden.weights + self.hidden.intercept
        logits: Floats = self.hidden.target_head.logits(states)
        return logits

    def rows_of(self, source_ids: Sequence[int]) -> NDArray[np.int64]:
        """Return the rows of W (len(source_ids),) of source tokens.

        Raises:
            KeyError: a token is not among the map's.
        """
        return _positions(self.source_ids, source_ids, "source")

    def block(self, source_ids: Sequence[int], target_ids: Sequence[int]) -> Floats:
        """Return the weights between given source and target tokens, (len(source), len(target)).

        Raises:
            KeyError: a token is not among the map's.
        """
        rows = self.rows_of(source_ids)
        columns = _positions(self.target_ids, target_ids, "target")
        if isinstance(self.weights, np.ndarray):
            return self.weights[np.ix_(rows, columns)]
        return self.weights[rows, columns]

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
            raise KeyError(f"token {token} is not a {role} token of this map")
    return positions


def _strongest(ids: NDArray[np.int64], weights: Floats, count: int) -> list[tuple[int, float]]:
    best = np.argsort(-weights, kind="stable")[:count]
    return [(int(ids[i]), float(weights[i])) for i in best]


def relative(numerator: float, denominator: float) -> float:
    """Return a ratio of norms, 0.0 where both vanish."""
    return numerator / denominator if denominator > 0 else (0.0 if numerator == 0 else math.inf)
