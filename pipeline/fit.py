"""Fit the maps of a relation from the store: domain and full vocabulary, each without and with ridge."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lincorr.readout import Readout
from lincorr.solvers.choose import Choice
from lincorr.solvers.direct import direct
from lincorr.solvers.factored import factored
from lincorr.solvers.result import RidgePath
from lincorr.solvers.spectrum import Problem, ridge_path, solve
from lincorr.store import LogitStore
from pipeline.prepare import RelationInputs

Source = Literal["domain", "vocabulary"]

FIT_NAMES = ("domain", "domain-ridge", "vocabulary", "vocabulary-ridge")
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
        head = _float64(store.readout())
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
    linear = store.identity.hidden  # the head was proved linear, so the rank is at most the width
    return direct(
        _double(store.logits(inputs.source_template, ids, rows)),
        _double(store.logits(inputs.target_template, target_ids, rows)),
        source_ids=ids,
        target_ids=target_ids,
        storage_eps=eps,
        rank_limit=store.identity.width if linear else None,
        rcond=inputs.rcond,
    )


def source_blocks(
    store: LogitStore, inputs: FitInputs, source: Source, rows: NDArray[np.int64], size: int = 4096
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (source data, target logits) of rows, block by block, as the source's problem takes them."""
    through_hidden = inputs.choices[source].method == "factored"
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        data = (
            store.hidden(inputs.source_template, part)
            if through_hidden
            else store.logits(inputs.source_template, inputs.source_ids(source), part)
        )
        target = store.logits(inputs.target_template, inputs.relation.target.ids, part)
        yield _double(data), _double(target)


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


def _float64(head: Readout) -> Readout:
    bias = None if head.bias is None else _double(head.bias)
    return Readout(_double(head.weight), bias, head.scale, head.softcap)


def _double(array: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)
