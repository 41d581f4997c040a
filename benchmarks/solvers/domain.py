"""A domain's columns: 5,000 subjects, 220 cities, 130 countries, beside the libraries one would take."""

import importlib.util
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from benchmarks.solvers.machine import best_seconds, print_table, seconds
from lincorr.solvers.direct import direct
from lincorr.solvers.spectrum import solve
from lincorr.testing import hidden_problem

ROWS, SOURCES, TARGETS, WIDTH = 5000, 220, 130, 576
TURNS, ROUNDS = 3, 5  # the loop over all columns takes turns with five rounds of the others; the best counts

Doubles = NDArray[np.floating]  # float64


def measure() -> dict[str, Any]:
    """Fit one planted problem, stored in float32, in every way; weights are (p, q)."""
    problem = hidden_problem(ROWS, WIDTH, SOURCES, TARGETS)
    x, y = (
        a.astype(np.float32).astype(np.float64) for a in (problem.source_logits(), problem.target_logits())
    )
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)

    def per_column() -> Doubles:
        return np.stack([LinearRegression().fit(x, y[:, j]).coef_ for j in range(TARGETS)], axis=1)

    ways: dict[str, Callable[[], Doubles]] = {
        "scikit-learn LinearRegression, all columns at once": lambda: LinearRegression().fit(x, y).coef_.T,
        "scipy.linalg.lstsq (gelsd)": lambda: centred(x, y, lambda a, b: scipy.linalg.lstsq(a, b)[0]),
        "numpy.linalg.lstsq": lambda: centred(x, y, lambda a, b: np.linalg.lstsq(a, b)[0]),
        "dask.array.linalg.lstsq, 4 row blocks": lambda: centred(x, y, dask_lstsq),
        "lincorr direct": lambda: ours(x, y),
    }
    if importlib.util.find_spec("himalaya"):
        ways["himalaya Ridge (svd, alpha 1e-10)"] = lambda: himalaya(x, y)
    expected = scipy.linalg.lstsq(xc, yc, lapack_driver="gelsd")[0]
    loop = "scikit-learn LinearRegression per column"
    turns = [(seconds(per_column), best_seconds(ways, ROUNDS)) for _ in range(TURNS)]
    best = {way: min(others[way] for _, others in turns) for way in ways}
    per_column_seconds = min(taken for taken, _ in turns)
    rows: list[dict[str, Any]] = [
        {"way": way, "ms": 1e3 * taken, "error": error(work(), expected)}
        for way, taken, work in [(loop, per_column_seconds, per_column)]
        + [(way, best[way], work) for way, work in ways.items()]
    ]
    for row in rows:
        row["times"] = rows[0]["ms"] / row["ms"]
    print(f"{ROWS:,} x {SOURCES} -> {TARGETS}, float64\n")
    columns = {"way": ("way", ""), "ms": ("ms", ",.1f"), "times": ("times per column", ",.1f")}
    print_table(rows, columns | {"error": ("error of W against gelsd", ".1e")})
    return {"sizes": [ROWS, SOURCES, TARGETS], "ways": rows}


def ours(x: Doubles, y: Doubles) -> Doubles:
    """Solve, with rank decision, intercept and certificates, as a fit does."""
    ids: dict[str, Any] = {"source_ids": np.arange(SOURCES), "target_ids": np.arange(TARGETS)}
    problem = direct(x, y, storage_eps=float(np.finfo(np.float32).eps), rank_limit=WIDTH, **ids)
    weights = solve(problem).weights
    assert isinstance(weights, np.ndarray)
    return weights


def centred(x: Doubles, y: Doubles, lstsq: Callable[[Doubles, Doubles], Doubles]) -> Doubles:
    """Give a library without intercepts centred data; centring is timed with it."""
    return lstsq(x - x.mean(axis=0), y - y.mean(axis=0))


def dask_lstsq(x: Doubles, y: Doubles) -> Doubles:
    a, b = (da.from_array(m, chunks=(ROWS // 4, m.shape[1])) for m in (x, y))
    weights: Doubles = da.linalg.lstsq(a, b)[0].compute()
    return weights


def himalaya(x: Doubles, y: Doubles) -> Doubles:
    from himalaya.backend import set_backend
    from himalaya.ridge import Ridge

    set_backend("numpy")
    weights: Doubles = Ridge(alpha=1e-10, fit_intercept=True, solver="svd").fit(x, y).coef_
    return weights


def error(weights: Doubles, expected: Doubles) -> float:
    return float(np.linalg.norm(weights - expected) / np.linalg.norm(expected))
