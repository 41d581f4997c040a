"""What rounding logits for storage does to W, where there are more columns than the model is wide."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from benchmarks.solvers.machine import print_table
from benchmarks.solvers.vocabulary import OpenRelation
from lincorr.scores.hits import hits
from lincorr.scores.moments import CrossMoments, finite_mean
from lincorr.solvers.direct import Direct, direct
from lincorr.solvers.spectrum import ridge_path, solve

Doubles = NDArray[np.floating]  # float64
Found = tuple[int, Doubles, Doubles]  # rank, W, intercept

COLUMNS = {
    "stored": ("stored as", ""),
    "way": ("way", ""),
    "rank": ("rank", ",d"),
    "norm": ("‖W‖", ".2e"),
    "r": ("held-out r", ".3f"),
    "hit1": ("hit@1", ".2f"),
    "hit5": ("hit@5", ".2f"),
    "seconds": ("s", ".1f"),
}


def measure(opened: OpenRelation, most_rows: int, n_columns: int) -> dict[str, Any]:
    """Fit the countries' logits from some thousand tokens' logits, as each storage precision rounds them."""
    inputs, relation = opened.fit_inputs(), opened.relation
    rng = np.random.default_rng(3)
    others = np.setdiff1d(np.arange(opened.n_tokens), relation.source.ids)
    ids = np.sort(
        np.concatenate(
            [relation.source.ids, rng.choice(others, n_columns - len(relation.source), replace=False)]
        )
    )
    fit, test = inputs.fit_rows[:most_rows], inputs.test_rows[:most_rows]
    place = {token: i for i, token in enumerate(ids.tolist())}
    column = {token: i for i, token in enumerate(relation.target.ids.tolist())}
    truth = {place[token]: [column[t] for t in right] for token, right in relation.truth.items()}
    rows = []
    for precision in ("float32", "float16"):
        x, y, x_test, y_test = (
            opened.store.logits(name, columns, part).astype(precision).astype(np.float64)
            for part in (fit, test)
            for name, columns in (
                (inputs.source_template, ids),
                (inputs.target_template, relation.target.ids),
            )
        )
        eps, width = float(np.finfo(precision).eps), opened.store.identity.width
        known = {
            "source_ids": ids,
            "target_ids": relation.target.ids,
            "storage_eps": eps,
            "rank_limit": width,
        }
        known |= {"storage_eps": eps}
        for way, fit_by in WAYS.items():
            began = time.perf_counter()
            rank, weights, intercept = fit_by(x, y, known)
            seconds = time.perf_counter() - began
            scored = CrossMoments.of(x_test @ weights + intercept, y_test)
            eye = np.eye(len(intercept))
            at = hits(weights, truth).at
            rows.append(
                {
                    "stored": precision,
                    "way": way,
                    "rank": rank,
                    "norm": float(np.linalg.norm(weights)),
                    "r": finite_mean(scored.correlation(eye, np.zeros(len(eye))).pearson()),
                    "hit1": at[1],
                    "hit5": at[5],
                    "seconds": seconds,
                }
            )
    print(f"{len(fit):,} x {len(ids):,} -> {len(relation.target)}, width {opened.store.identity.width}\n")
    print_table(rows, COLUMNS)
    return {"sizes": [len(fit), len(ids), len(relation.target)], "ways": rows}


def sklearn_fit(x: Doubles, y: Doubles, _: dict[str, Any]) -> Found:
    model = LinearRegression().fit(x, y)
    return int(model.rank_), model.coef_.T, model.intercept_


def numpy_fit(x: Doubles, y: Doubles, _: dict[str, Any]) -> Found:
    weights, _, rank, _ = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(axis=0), rcond=None)
    return int(rank), weights, y.mean(axis=0) - x.mean(axis=0) @ weights


def cut_fit(x: Doubles, y: Doubles, known: dict[str, Any]) -> Found:
    return solved(direct(x, y, **known), 0.0)


def ridge_fit(x: Doubles, y: Doubles, known: dict[str, Any]) -> Found:
    problem = direct(x, y, **known)
    return solved(problem, ridge_path(problem).reading)


def solved(problem: Direct, root_penalty: float) -> Found:
    fitted = solve(problem, root_penalty)
    assert isinstance(fitted.weights, np.ndarray)
    return problem.cut.rank, fitted.weights, fitted.intercept


WAYS: dict[str, Callable[[Doubles, Doubles, dict[str, Any]], Found]] = {
    "scikit-learn LinearRegression": sklearn_fit,
    "numpy.linalg.lstsq": numpy_fit,
    "lincorr, cut at τ": cut_fit,
    "lincorr, reading λ": ridge_fit,
}
