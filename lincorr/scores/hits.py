"""Hit rates: does W name the right answer among its k strongest?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.bootstrap import share_intervals


@dataclass(frozen=True, slots=True)
class Hits:
    """Hit rates: how often a right answer is among the k strongest.

    Attributes:
        at: k -> share of the rows.
        chance: k -> the share expected of weights in random order.
        of: number of rows with a right answer.
        low, high: k -> ends of the share's 95 % interval over such rows; NaN where they are too few.
    """

    at: dict[int, float]
    chance: dict[int, float]
    of: int
    low: dict[int, float]
    high: dict[int, float]


def hits(
    weights: NDArray[np.floating],
    truth: Mapping[int, Sequence[int]],
    ks: Sequence[int] = (1, 3, 5),
) -> Hits:
    """Return hit@k of rows of W: a right column is among the k largest weights of its row.

    Args:
        weights: (rows, columns).
        truth: row position -> the column positions that are right for it.
    """
    if not truth:
        nothing = dict.fromkeys(ks, math.nan)
        return Hits(nothing, nothing, 0, nothing, nothing)
    found = _found(weights, truth, ks)
    rights = [len(set(right)) for right in truth.values()]
    ends = (dict(zip(ks, end.tolist(), strict=True)) for end in share_intervals(found))
    return Hits(
        dict(zip(ks, found.mean(axis=0).tolist(), strict=True)),
        {k: float(np.mean([_chance(weights.shape[1], right, k) for right in rights])) for k in ks},
        len(found),
        *ends,
    )


def hit_shares(
    weights: NDArray[np.floating], truth: Mapping[int, Sequence[int]], ks: Sequence[int] = (1, 3, 5)
) -> dict[int, float]:
    """Return k -> hit@k alone, as `hits` does: many a solution of a path is not worth its intervals."""
    if not truth:
        return dict.fromkeys(ks, math.nan)
    return dict(zip(ks, _found(weights, truth, ks).mean(axis=0).tolist(), strict=True))


def _found(
    weights: NDArray[np.floating], truth: Mapping[int, Sequence[int]], ks: Sequence[int]
) -> NDArray[np.bool_]:
    """Return whether a right column is among the k largest weights, (rows with a truth, ks)."""
    ranks = np.array([_rank(weights[row], list(right)) for row, right in truth.items()])
    found: NDArray[np.bool_] = ranks[:, None] < np.array(ks)
    return found


def _rank(weights: NDArray[np.floating], right: list[int]) -> int:
    """Count the wrong columns as strong as the strongest right one; ties and NaN count against us."""
    wrong = np.delete(weights, right)
    return int((~(wrong < weights[right].max())).sum())


def _chance(columns: int, right: int, k: int) -> float:
    """Return the probability that k columns drawn without replacement hold a right one."""
    drawn = min(k, columns)
    return 1 - math.comb(columns - right, drawn) / math.comb(columns, drawn)
