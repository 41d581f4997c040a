"""Planted problems, one for each out-of-core method, and fits of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.solvers.result import LinearMap
from lincorr.store.store import LogitStore
from lincorr.testing import HiddenProblem, hidden_problem
from pipeline.fit.inputs import FIT_NAMES, FitInputs
from pipeline.fit.relation import fit_relation
from pipeline.runtime.executor import Executor, Serial
from tests.pipeline.fit.relations import chosen, planted_relation

N_FIT, N, WIDTH, Q = 100, 140, 12, 9

METHODS = ["gram", "dual", "lowrank"]

P = {"gram": 50, "dual": 130, "lowrank": 90, "tiled": 80}

ROOT = 0.05


def planted(method: str) -> HiddenProblem:
    return hidden_problem(N, WIDTH, P[method], Q, noise=0.05)


def fit_inputs(method: str, **changes: Any) -> FitInputs:
    p = P[method]
    rows, choice = np.random.default_rng(0).permutation(N), chosen(method, N_FIT, p, Q, WIDTH)
    known = {"n_tokens": p, "rcond": None, "memory_bytes": 10**8, "root_penalty": None} | changes
    return FitInputs(planted_relation(p, Q), rows[:N_FIT], rows[N_FIT:], {"domain": choice}, **known)


def stored(store: LogitStore, inputs: FitInputs, rows: NDArray[np.int64]) -> tuple[Any, Any]:
    x = store.logits("source", inputs.relation.source.ids, rows)
    y = store.logits("target", inputs.relation.target.ids, rows)
    return x.astype(np.float64), y.astype(np.float64)


def centred(data: Any) -> Any:
    return data - data.mean(axis=0)


def error(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def weights_of(fitted: LinearMap) -> Any:
    return fitted.block(fitted.source_ids.tolist(), fitted.target_ids.tolist())


def arrays(store: LogitStore) -> dict[str, bytes]:
    """The bits of every map."""
    maps = [store.maps.load("toy", name) for name in FIT_NAMES if store.maps.inputs("toy", name)]
    assert maps
    return {m.diagnosis.method + str(i): weights_of(m).tobytes() for i, m in enumerate(maps)}


def run(store: LogitStore, inputs: FitInputs, executor: Executor | None = None) -> list[str]:
    return fit_relation(store, inputs, lambda: executor or Serial())
