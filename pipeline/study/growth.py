"""Which subjects matter: r and hit@k against the number of subjects, on the same held-out rows.

The first c subjects of a study are those that a study of c would draw; of them those are fitted that the
study fits. So every fit's subjects are among those of the next, and all are scored on the same held-out rows.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.store.store import LogitStore
from pipeline.evaluate.reading import hits_both_ways
from pipeline.fit.inputs import FitInputs, Source
from pipeline.fit.sources import Decompositions
from pipeline.study.one_source import Answers, OneSource, fits

COUNTS = (250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
"""Subjects to try, below those that there are."""

_GROWTH = 1  # raised when growth would come out otherwise: kept ones are then made again
_FEWEST_ROWS = 8  # to fit


@dataclass(frozen=True, slots=True)
class Step:
    """The first subjects of a study.

    Attributes:
        subjects: how many.
        rows: of the store, those of them that are fitted.
    """

    subjects: int
    rows: NDArray[np.int64]


def steps(rows: NDArray[np.int64], fit: NDArray[np.int64], counts: Sequence[int]) -> list[Step]:
    """Return the steps that a study has room for, all of its subjects last.

    Args:
        rows: of the store, of the study's subjects in their order.
        fit: positions among them of those that are fitted, ascending.
        counts: of subjects, ascending; those that are more than there are are passed over.
    """
    tried = [*(count for count in counts if count < len(rows)), len(rows)]
    found = [Step(count, rows[fit[fit < count]]) for count in tried]
    return [step for step in found if len(step.rows) >= _FEWEST_ROWS]


def growth_of(
    store: LogitStore,
    inputs: Sequence[FitInputs],
    taken: Sequence[Step],
    shared: Decompositions,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, list[dict[str, Any]]]:
    """Return relation -> points of its growth; kept in the store, and found there.

    Args:
        inputs: of the relations.
        shared: decomposed sources.
        advance: is told of every relation that is done.

    Returns:
        Of each point as JSON values: subjects, fitted, fit, root_penalty, r, r_std, hits (as in scores).
        Nothing of a source that would not fit into memory.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    digests = {one.relation.name: _digest(store, one, taken) for one in inputs}
    for group in _by_source(inputs):
        lacking = [one for one in group if _kept(store, one) != digests[one.relation.name]]
        for name, points in _points(store, lacking, taken, shared).items():
            store.maps.save_scores(growth_name(name), {"points": points}, digests[name])
        for one in group:
            name = one.relation.name
            found[name] = store.maps.load_scores(growth_name(name))["points"]
        advance(len(group))
    return found


def growth_name(relation: str) -> str:
    """Name of a relation's growth among a store's scores; no relation can have it."""
    return f"{relation}--growth"


def _by_source(inputs: Sequence[FitInputs]) -> list[list[FitInputs]]:
    groups: dict[str, list[FitInputs]] = {}
    for one in inputs:
        groups.setdefault(one.source_template, []).append(one)
    return list(groups.values())


def _kept(store: LogitStore, inputs: FitInputs) -> str | None:
    return store.maps.score_inputs(growth_name(inputs.relation.name))


def _points(
    store: LogitStore, group: Sequence[FitInputs], taken: Sequence[Step], shared: Decompositions
) -> dict[str, list[dict[str, Any]]]:
    """Fit every relation of one source prompt at every step."""
    points: dict[str, list[dict[str, Any]]] = {one.relation.name: [] for one in group}
    sources: tuple[Source, ...] = ("domain", "vocabulary")
    for step in taken:
        for whole in group:
            inputs = replace(whole, fit_rows=step.rows)
            answers = Answers.read(store, inputs.target_template, inputs.relation.target.ids, inputs)
            for source in sources:
                if fits(inputs, source):
                    one = OneSource.read(store, inputs, source, shared)
                    points[inputs.relation.name] += _score(one, answers, inputs, source, step)
    return points


def _score(
    one: OneSource, answers: Answers, inputs: FitInputs, source: Source, step: Step
) -> list[dict[str, Any]]:
    solutions = one.solve(answers, (0.0, inputs.root_penalty))
    return [
        {
            "subjects": step.subjects,
            "fitted": len(step.rows),
            "fit": name,
            "root_penalty": solution.root_penalty,
            "r": solution.mean_r,
            "r_std": solution.std_r,
            "hits": hits_both_ways(one.weights(solution), inputs) if inputs.relation.truth else None,
        }
        for name, solution in zip(inputs.fit_names(source), solutions, strict=True)
    ]


def _digest(store: LogitStore, inputs: FitInputs, taken: Sequence[Step]) -> str:
    """Hash all that a relation's growth depends on."""
    told: list[Any] = [_GROWTH, inputs.rcond, inputs.root_penalty]
    told += [[source, choice.method] for source, choice in inputs.choices.items()]
    told += [[step.subjects, step.rows.tolist()] for step in taken]
    told += [inputs.test_rows.tolist(), list(inputs.relation.truth.items())]
    for name, columns in (
        (inputs.source_template, inputs.relation.source),
        (inputs.target_template, inputs.relation.target),
    ):
        told += [name, columns.ids.tolist()]
        told += [store.shards.digest(name, rows) for rows in (inputs.fit_rows, inputs.test_rows)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
