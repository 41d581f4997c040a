"""Random problems of a given rank and condition number, and what solutions are compared by."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.result import Factors, LinearMap

Floats = NDArray[np.float64]
Put = Callable[[Any], Any]  # moves an array of the host to where a test wants it


def centred(data: Floats) -> Floats:
    difference: Floats = data - data.mean(axis=0)
    return difference


def matrix(n: int, p: int, *, rank: int | None = None, kappa: float = 10.0, seed: int = 0) -> Floats:
    """A random centred (n, p) matrix of given rank and condition number."""
    rng = np.random.default_rng(seed)
    r = min(n - 1, p) if rank is None else rank
    left = np.linalg.qr(centred(rng.standard_normal((n, r))))[0]
    right = np.linalg.qr(rng.standard_normal((p, r)))[0]
    made: Floats = (left * np.logspace(0, -np.log10(kappa), r)) @ right.T * np.sqrt(n)
    return made


def duplicate_column(source: Floats) -> Floats:
    source[:, 3] = source[:, 5]
    return source


def constant_column(source: Floats) -> Floats:
    source[:, 3] = 17.0
    return source


def dense(fitted: LinearMap) -> Floats:
    if isinstance(fitted.weights, Factors):
        w = fitted.weights
        return np.asarray(w.left @ w.core @ w.right.T)
    return np.asarray(fitted.weights)


def error(found: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
