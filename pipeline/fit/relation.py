"""Fit the maps of a relation from the store: domain and full vocabulary, each without and with ridge."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lincorr.solvers.centred import centred_problem
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.lowrank import OVERSAMPLING, PROBES
from lincorr.solvers.result import RidgePath
from lincorr.solvers.spectrum import Problem, ridge_path, solve
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs, input_digest
from pipeline.fit.out_of_core import decompose
from pipeline.fit.problem import is_decomposed, set_up
from pipeline.fit.scratch import begin
from pipeline.fit.sources import SourceCache
from pipeline.fit.tiled import fit_tiles
from pipeline.plan.memory import tiling
from pipeline.runtime.executor import Executor

ROOT_PENALTY = 0.003  # √λ/σ₁ of tiled fits: a map of SmolLM2-135M read best there


def fit_relation(
    store: LogitStore,
    inputs: FitInputs,
    executor: Callable[[], Executor],
    shared: SourceCache | None = None,
) -> list[str]:
    """Fit and store every missing map of a relation; return the names of the new ones.

    Args:
        executor: opens one, for out-of-core fits. Others run here, at once: workers would take longer to
            start.
        shared: decomposed sources that other relations use, too.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    # out-of-core tasks check the rows that they read themselves
    out_of_core = all(choice.out_of_core for choice in inputs.choices.values())
    require = store.shards.require_written if out_of_core else store.shards.require_whole
    for template in (inputs.source_template, inputs.target_template):
        require(template, inputs.fit_rows)
    fitted: list[str] = []
    for basis, choice in inputs.choices.items():
        fitted_before = is_fitted(store, inputs, basis)
        if choice.out_of_core and choice.method != "tiled":  # evaluation reads the decomposition, too
            if fitted_before and is_decomposed(store, inputs, basis):
                continue
            decompose(executor(), store, _scratch(store, inputs, basis), choice.method)
        if fitted_before:
            continue
        if choice.method == "tiled":
            _fit_tiled(store, inputs, basis, executor())
        else:
            _fit_paths(store, inputs, basis, shared)
        fitted += inputs.fit_names(basis)
    return fitted


def is_fitted(store: LogitStore, inputs: FitInputs, basis: Basis) -> bool:
    """Whether the store has the maps of a basis, made from these inputs and undamaged."""
    digest, names = input_digest(store, inputs, basis), inputs.fit_names(basis)
    return all(store.maps.is_whole(inputs.relation.name, name, digest) for name in names)


def _fit_paths(store: LogitStore, inputs: FitInputs, basis: Basis, shared: SourceCache | None) -> None:
    """Solve and store the minimum-norm map and the ridge one of a basis."""
    problem = set_up(store, inputs, basis, shared)
    path = ridge_path(problem)
    asked = inputs.root_penalty
    ridge = path.reading if asked is None else asked
    digest, reason = input_digest(store, inputs, basis), inputs.choices[basis].reason
    for name, root_penalty, known in zip(
        inputs.fit_names(basis), (0.0, ridge), (None, path if asked is None else None), strict=True
    ):
        solution = solve(problem, root_penalty, reason=reason, path=known)
        if name.endswith("-ridge"):
            left_out = _left_out(problem, root_penalty, path)
            solution = replace(solution, diagnosis=replace(solution.diagnosis, loo_r=left_out))
        store.maps.save(inputs.relation.name, name, solution, digest)


def _left_out(problem: Problem, root_penalty: float, path: RidgePath) -> float:
    """Return the leave-one-out r by which wordings are compared (see `Diagnosis.loo_r`)."""
    if isinstance(problem, Direct | Factored):
        scored = (problem, centred_problem(problem))
        return sum(one.leave_one_out_scores([root_penalty])[0] for one in scored) / 2
    return path.score(root_penalty)


def _fit_tiled(store: LogitStore, inputs: FitInputs, basis: Basis, executor: Executor) -> None:
    [name] = inputs.fit_names(basis)
    fit_tiles(
        executor,
        store,
        _scratch(store, inputs, basis),
        relation=inputs.relation.name,
        fit=name,
        inputs=input_digest(store, inputs, basis),
        reason=inputs.choices[basis].reason,
    )


def _scratch(store: LogitStore, inputs: FitInputs, basis: Basis) -> Scratch:
    """Open the scratch of a basis's fit, with all that its tasks must know."""
    n, p, q = len(inputs.fit_rows), len(inputs.source_ids(basis)), len(inputs.relation.target.ids)
    method, identity = inputs.choices[basis].method, store.identity
    block, tile = tiling(method, p, q, inputs.memory_bytes)
    return begin(
        store,
        f"{inputs.relation.name}-{basis}",
        input_digest(store, inputs, basis),
        templates=(inputs.source_template, inputs.target_template),
        source_ids=inputs.source_ids(basis),
        target_ids=inputs.relation.target.ids,
        rows=inputs.fit_rows,
        block=block,
        panel=tile,
        sketch=min(identity.width + OVERSAMPLING, n) + PROBES,
        memory_bytes=inputs.memory_bytes,
        device=inputs.device,
        root_penalty=ROOT_PENALTY if inputs.root_penalty is None else inputs.root_penalty,
        rank_rule={
            "storage_eps": float(np.finfo(identity.precision).eps),
            "rank_limit": identity.width if identity.linear else None,
            "rcond": inputs.rcond,
        },
    )
