"""Fit the maps of a relation from the store: domain and full vocabulary, each without and with ridge."""

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.metrics import CrossMoments
from lincorr.solvers.choose import Choice
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import factored
from lincorr.solvers.result import RidgePath
from lincorr.solvers.spectrum import Problem, ridge_path, solve
from lincorr.store import LogitStore
from pipeline.prepare import RelationInputs

Source = Literal["domain", "vocabulary"]

FIT_NAMES = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")
_BLOCK_ROWS = 4096
_SOLVERS = 1  # raised when a solver's answer changes: kept maps are then fitted again


@dataclass(frozen=True, slots=True)
class FitInputs:
    """What the fits of one relation are made from.

    Attributes:
        relation: in the model's tokens.
        fit_rows, test_rows: rows of the store.
        choices: source -> method and reason.
        n_tokens: V.
        rcond: overrides the rank rule.
    """

    relation: RelationInputs
    fit_rows: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    choices: dict[Source, Choice]
    n_tokens: int
    rcond: float | None

    @property
    def source_template(self) -> str:
        """Name of the source's template."""
        return self.relation.relation.source.template.name

    @property
    def target_template(self) -> str:
        """Name of the target's template."""
        return self.relation.relation.target.template.name

    def source_ids(self, source: Source) -> NDArray[np.int64]:
        """Token ids of the source columns."""
        return self.relation.source.ids if source == "domain" else np.arange(self.n_tokens)


def fit_relation(store: LogitStore, inputs: FitInputs) -> list[str]:
    """Fit and keep every map of a relation that is not there yet; return the names of the new ones.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    fitted = []
    for source, choice in inputs.choices.items():
        for template in (inputs.source_template, inputs.target_template):
            store.require_whole(template, inputs.fit_rows)
        digest = input_digest(store, inputs, source)
        names = (source, f"{source}-ridge")
        if all(store.maps.inputs(inputs.relation.name, name) == digest for name in names):
            continue
        problem = set_up(store, inputs, source)
        path = ridge_path(problem)
        for name, root_penalty in zip(names, (0.0, path.reading), strict=True):
            known_path: RidgePath | None = path if root_penalty else None
            solution = solve(problem, root_penalty, reason=choice.reason, path=known_path)
            store.maps.save(inputs.relation.name, name, solution, digest)
            fitted.append(name)
    return fitted


def set_up(store: LogitStore, inputs: FitInputs, source: Source) -> Problem:
    """Read the rows to fit and decompose them."""
    ids, target_ids = inputs.source_ids(source), inputs.relation.target.ids
    rows = inputs.fit_rows
    eps = float(np.finfo(store.identity.precision).eps)
    if inputs.choices[source].method == "factored":
        head = store.readout().as_float64()
        return factored(
            _double(store.hidden(inputs.source_template, rows)),
            _double(store.hidden(inputs.target_template, rows)),
            head.columns(ids),
            head.columns(target_ids),
            source_ids=ids,
            target_ids=target_ids,
            storage_eps=eps,
            rcond=inputs.rcond,
        )
    return direct(
        _double(store.logits(inputs.source_template, ids, rows)),
        _double(store.logits(inputs.target_template, target_ids, rows)),
        source_ids=ids,
        target_ids=target_ids,
        storage_eps=eps,
        rank_limit=store.identity.width if store.identity.linear else None,
        rcond=inputs.rcond,
    )


def held_out_moments(store: LogitStore, inputs: FitInputs, source: Source) -> CrossMoments:
    """Return the moments of the rows to test, of such data as the source's problem is made of."""
    rows, hidden = inputs.test_rows, inputs.choices[source].method == "factored"

    def block(part: NDArray[np.int64]) -> CrossMoments:
        if hidden:
            x = store.hidden(inputs.source_template, part)
            y = store.hidden(inputs.target_template, part)
        else:
            x = store.logits(inputs.source_template, inputs.source_ids(source), part)
            y = store.logits(inputs.target_template, inputs.relation.target.ids, part)
        return CrossMoments.of(_double(x), _double(y))

    parts = (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS))
    return functools.reduce(CrossMoments.merge, map(block, parts))


def input_digest(store: LogitStore, inputs: FitInputs, source: Source) -> str:
    """Hash all that goes into the fits of one source."""
    contents = [
        store.content_digest(name, inputs.fit_rows)
        for name in (inputs.source_template, inputs.target_template)
    ]
    told = [_SOLVERS, inputs.choices[source].method, inputs.rcond, contents]
    whole = hashlib.sha256(json.dumps(told).encode())
    for array in (inputs.source_ids(source), inputs.relation.target.ids, inputs.fit_rows):
        whole.update(array.astype(np.int64).tobytes())
    return whole.hexdigest()


def _double(array: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)
