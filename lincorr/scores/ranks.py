"""Rank correlation: Spearman's rho of held-out predictions, output by output."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, device, namespace, scattered
from lincorr.scores.moments import varies

_FEWEST = 3  # pairs of values for which a rank correlation is reported
_SIGN = np.uint32(2**31)


@dataclass(frozen=True, slots=True)
class RankedTruth:
    """True outputs and their ranks, against which the predictions of several maps are ranked.

    Attributes:
        ranks: (q, n) of `average_ranks` about their mean, an output in one piece.
        squares: (q,) sums of their squares.
        varying: (q,) which outputs vary; the ranks of others would be those of rounding errors.
    """

    ranks: Array
    squares: Array
    varying: Array

    @classmethod
    def of(cls, true: Array) -> "RankedTruth":
        """Rank float64 outputs (n, q)."""
        xp, n = namespace(true), true.shape[0]

        def of_rows(rows: Array, _: int) -> tuple[Array, Array, Array]:
            ranks = _ranks(rows) - (n + 1) / 2
            return ranks, xp.sum(ranks * ranks, axis=1), varies(rows.T)

        return cls(*_by_column(of_rows, true))

    def spearman(self, predicted: Array) -> Array:
        """Return Spearman's rho per column of predictions (n, q), as `spearman` does."""
        xp, n = namespace(predicted), predicted.shape[0]

        def sums(rows: Array, first: int) -> tuple[Array, Array, Array]:
            order, ranks = _ranked(rows)
            ranks = ranks - (n + 1) / 2
            true = _take_along(self.ranks[first : first + rows.shape[0], :], order)
            squares = xp.broadcast_to(xp.sum(ranks * ranks, axis=1), rows.shape[:1])
            return xp.sum(ranks * true, axis=1), squares, varies(rows.T)

        products, squares, varying = _by_column(sums, predicted)
        known = self.varying & varying & (squares > 0) & (self.squares > 0)
        size = xp.sqrt(xp.where(known, squares * self.squares, xp.ones_like(squares)))
        return xp.where(known, products / size, xp.full_like(size, math.nan))


def spearman(predicted: Array, true: Array) -> Array:
    """Return Spearman's rho per column: Pearson's r of the average ranks.

    Unlike r it has no moments that merge over rows: it needs every row of a column at once.

    Args:
        predicted, true: (n, q) float64.

    Returns:
        (q,) float64; NaN where predictions or truths do not vary.
    """
    return RankedTruth.of(true).spearman(predicted)


def average_ranks(values: Array) -> Array:
    """Return the rank of each value in its column, from 1; equal values share their mean rank.

    Args:
        values: (n, q), without NaN.

    Returns:
        (n, q) float64.
    """
    (ranks,) = _by_column(lambda rows, _: (_ranks(rows),), values)
    return ranks.T


def _by_column(of_rows: Callable[[Array, int], tuple[Array, ...]], values: Array) -> list[Array]:
    """Return the arrays that a function makes of the columns of values (n, q), which it gets as rows (k, n).

    On the host one at a time, each in one piece in the processor's cache; elsewhere all at once. The
    function also gets the first column's position.
    """
    if not isinstance(values, np.ndarray):
        return list(of_rows(namespace(values).asarray(values.T, copy=True), 0))
    rows = np.ascontiguousarray(values.T)
    with ThreadPoolExecutor(_threads()) as pool:  # sorting lets other threads run
        made = list(pool.map(lambda j: of_rows(rows[j : j + 1], j), range(len(rows))))
    return [np.concatenate(parts) for parts in zip(*made, strict=True)]


def _threads() -> int:
    """Return the number of threads that libraries compute with: as told (`use_threads`), or all cores."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # of nested loops, the outer one's
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ranks(rows: Array) -> Array:
    """Return the average ranks of each row's values."""
    xp, n = namespace(rows), rows.shape[1]
    order, ranks = _ranked(rows)
    starts = xp.arange(rows.shape[0], dtype=order.dtype, device=device(rows))[:, None] * n
    ranks = xp.broadcast_to(ranks, rows.shape)
    return xp.reshape(scattered(xp.reshape(ranks, (-1,)), xp.reshape(order + starts, (-1,))), rows.shape)


def _ranked(rows: Array) -> tuple[Array, Array]:
    """Return the order (k, n) of each row's values, and the average ranks in that order, (k or 1, n)."""
    xp, n = namespace(rows), rows.shape[1]
    places = xp.arange(1, n + 1, dtype=xp.float64, device=device(rows))[None, :]
    if isinstance(rows, np.ndarray):
        found, distinct = _order(rows[0])
        order = found[None, :]
        if distinct:
            return order, places
    else:
        order = xp.argsort(rows, stable=False)
    ordered = _take_along(rows, order)
    equal = ordered[:, 1:] == ordered[:, :-1]
    if not bool(xp.any(equal)):  # as it is with most logits: each has its place
        return order, places
    differs = xp.reshape(xp.concat([xp.ones_like(order[:, :1], dtype=xp.bool), ~equal], axis=1), (-1,))
    (first,) = xp.nonzero(differs)  # of equal values, counted through all rows
    last = xp.concat([first[1:], xp.full_like(first[:1], differs.shape[0])])
    group = xp.cumulative_sum(xp.astype(differs, xp.int64)) - 1
    mean = xp.take(xp.astype(first + last + 1, xp.float64) / 2, group, axis=0)
    starts = xp.arange(rows.shape[0], dtype=xp.float64, device=device(rows))[:, None] * n
    return order, xp.reshape(mean, rows.shape) - starts


def _order(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], bool]:
    """Return what sorts float64 values (n,), and whether all differ; in a third of `numpy.argsort`'s time.

    They are sorted by radix as float32, which keeps their order, and those that are equal then as they are.
    """
    with np.errstate(over="ignore", under="ignore"):
        bits = (values + 0.0).astype(np.float32).view(np.uint32)  # -0.0 is 0.0
    keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)  # whole numbers in the same order
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    order = order[np.argsort((keys >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    if differs.all():
        return order, True
    alike = np.concatenate([[False], ~differs]) | np.concatenate([~differs, [False]])
    (unsure,) = np.nonzero(alike)
    inside = order[unsure]
    inside = inside[np.lexsort([values[inside], ordered[unsure]])]
    order[unsure] = inside
    again = values[inside]
    return order, bool((again[1:] != again[:-1]).all())


def _take_along(rows: Array, order: Array) -> Array:
    """Return each row's values (k, n) in an order (k, n)."""
    if rows.shape[0] == 1:
        return namespace(rows).take(rows, order[0, :], axis=1)
    return namespace(rows).take_along_axis(rows, order, axis=1)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rho of two short lists over the positions where both have a value.

    NaN for fewer than three, or where one side does not vary.
    """
    pairs = np.array([a, b], dtype=np.float64).T
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    return float(spearman(pairs[:, :1], pairs[:, 1:])[0]) if len(pairs) >= _FEWEST else float("nan")
