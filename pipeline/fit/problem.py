"""The least-squares problem of a relation in one basis, in memory or read back from its scratch."""

import functools

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import as_float64, like
from lincorr.errors import LincorrError
from lincorr.scores.moments import CrossMoments
from lincorr.solvers.direct import Direct
from lincorr.solvers.factored import Factored
from lincorr.solvers.reduced import Reduced
from lincorr.solvers.solved import Solved
from lincorr.solvers.spectrum import Problem
from lincorr.store.scratch import Scratch
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs, input_digest
from pipeline.fit.reduced import load_reduced
from pipeline.fit.scratch import scratch_url
from pipeline.fit.sources import SourceCache
from pipeline.plan.memory import held_out_rows


def set_up(store: LogitStore, inputs: FitInputs, basis: Basis, shared: SourceCache | None = None) -> Problem:
    """Return the problem of a basis: its rows read and decomposed, or the result of an out-of-core fit.

    Args:
        shared: decomposed sources that other relations use, too.

    Raises:
        LincorrError: the out-of-core fit is missing or outdated.
    """
    method = inputs.choices[basis].method
    if method == "tiled":
        return Solved(store.maps.load(inputs.relation.name, inputs.fit_names(basis)[0]))
    if inputs.choices[basis].out_of_core:
        return load_reduced(_decomposed_scratch(store, inputs, basis), method)
    shared = shared or SourceCache(store)
    decomposed = shared.factored if method == "factored" else shared.direct
    return decomposed(
        inputs.source_template,
        inputs.target_template,
        inputs.source_ids(basis),
        inputs.relation.target.ids,
        inputs.fit_rows,
        rcond=inputs.rcond,
    )


def is_decomposed(store: LogitStore, inputs: FitInputs, basis: Basis) -> bool:
    """Whether the scratch of an out-of-core fit has its decomposition; `lincorr store compact` deletes it."""
    url = scratch_url(store, f"{inputs.relation.name}-{basis}")
    return Scratch.inputs(url) == input_digest(store, inputs, basis) and bool(
        Scratch.attach(url).facts().get("decomposed")
    )


def _decomposed_scratch(store: LogitStore, inputs: FitInputs, basis: Basis) -> Scratch:
    url = scratch_url(store, f"{inputs.relation.name}-{basis}")
    if not is_decomposed(store, inputs, basis):
        raise LincorrError(f"fit: the decomposition in {url!r} is missing; run `lincorr fit` again")
    return Scratch.attach(url)


def held_out_moments(store: LogitStore, inputs: FitInputs, basis: Basis, problem: Problem) -> CrossMoments:
    """Return the moments of the held-out rows, of the data that the problem is stated in.

    Args:
        problem: of the basis, with any targets: it knows its coordinates or its device.
    """
    rows, ids = inputs.test_rows, inputs.source_ids(basis)
    hidden = inputs.choices[basis].method == "factored"

    def block(part: NDArray[np.int64]) -> CrossMoments:
        if hidden:
            x = as_float64(store.hidden(inputs.source_template, part))
            y = as_float64(store.hidden(inputs.target_template, part))
        else:
            x = as_float64(store.logits(inputs.source_template, ids, part))
            y = as_float64(store.logits(inputs.target_template, inputs.relation.target.ids, part))
        if isinstance(problem, Direct | Factored):
            return CrossMoments.of(like(x, problem.targets), like(y, problem.targets))
        assert isinstance(problem, Reduced | Solved)
        return CrossMoments.of(problem.coordinates(x), y)

    size = held_out_rows(None if hidden else len(ids), inputs.memory_bytes)
    parts = (rows[start : start + size] for start in range(0, len(rows), size))
    return functools.reduce(CrossMoments.merge, map(block, parts))
