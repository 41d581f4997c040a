"""r and hit@k against the number of subjects, on the same held-out rows.

The first c subjects of a study are those that a study of c would draw; of them those are fitted that the
study fits. So every fit's subjects are among those of the next, and all are scored on the same held-out rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.study import Growth, GrowthPoint
from lincorr.solvers.centred import centred_rows
from lincorr.store.cached import cached_group
from lincorr.store.store import LogitStore
from pipeline.evaluate.reading import hits_both_ways
from pipeline.fit.by_source import by_source
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.sources import SourceCache
from pipeline.study.one_source import Answers, OneSource, fits

COUNTS = (250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
"""Numbers of subjects to try; those below the number that there are."""

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
        counts: of subjects, ascending; those that exceed the number that there are are skipped.
    """
    tried = [*(count for count in counts if count < len(rows)), len(rows)]
    found = [Step(count, rows[fit[fit < count]]) for count in tried]
    return [step for step in found if len(step.rows) >= _FEWEST_ROWS]


def growth_of(
    store: LogitStore,
    inputs: Sequence[FitInputs],
    taken: Sequence[Step],
    shared: SourceCache,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Growth]:
    """Return relation -> its growth; cached in the store.

    Nothing of a source that does not fit into memory.

    Args:
        inputs: of the relations.
        shared: decomposed sources.
        advance: called with the number of relations that were finished.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    found: dict[str, Growth] = {}
    for group in by_source(inputs):
        by_name = {growth_name(one.relation.name): one for one in group}
        depends_on = {name: _depends_on(store, one, taken) for name, one in by_name.items()}
        compute = partial(_grow, store, by_name, taken, shared)
        for growth in cached_group(store.maps, Growth, depends_on, compute).values():
            found[growth.relation] = growth
        advance(len(group))
    return found


def growth_name(relation: str) -> str:
    """Name of a relation's growth among a store's scores; no relation can have it."""
    return f"{relation}--growth"


def _grow(
    store: LogitStore,
    by_name: Mapping[str, FitInputs],
    taken: Sequence[Step],
    shared: SourceCache,
    missing: Sequence[str],
) -> dict[str, Growth]:
    """Fit those relations of one source prompt whose growth is missing, at every step."""
    points: dict[str, list[GrowthPoint]] = {name: [] for name in missing}
    for step in taken:
        for names in _alike({name: by_name[name] for name in missing}):
            fitted = {name: replace(by_name[name], fit_rows=step.rows) for name in names}
            first = fitted[names[0]]
            sources = {
                basis: OneSource.read(store, first, basis, shared)
                for basis in first.choices
                if fits(first, basis)
            }
            for name, inputs in fitted.items():
                answers = Answers.read(store, inputs.target_template, inputs.relation.target.ids, inputs)
                for basis, one in sources.items():
                    points[name] += _score(one, answers, inputs, basis, step)
    return {name: Growth(by_name[name].relation.name, tuple(found)) for name, found in points.items()}


def _alike(inputs: Mapping[str, FitInputs]) -> list[list[str]]:
    """Group relations of one source prompt by what `OneSource` reads: columns, decomposed in some way."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, one in inputs.items():
        methods = [(basis, choice.method) for basis, choice in one.choices.items()]
        groups.setdefault((one.relation.source.ids.tobytes(), *methods), []).append(name)
    return list(groups.values())


def _score(
    one: OneSource, answers: Answers, inputs: FitInputs, source: Basis, step: Step
) -> list[GrowthPoint]:
    solutions = one.solve(answers, (0.0, inputs.root_penalty))
    return [
        GrowthPoint(
            subjects=step.subjects,
            fitted=len(step.rows),
            fit=name,
            root_penalty=solution.root_penalty,
            r=solution.mean_r,
            r_std=solution.std_r,
            hits=hits_both_ways(centred_rows(one.weights(solution)), inputs.relation)
            if inputs.relation.truth
            else None,
        )
        for name, solution in zip(inputs.fit_names(source), solutions, strict=True)
    ]


def _depends_on(store: LogitStore, inputs: FitInputs, taken: Sequence[Step]) -> list[Any]:
    """Return all that a relation's growth depends on."""
    values: list[Any] = [inputs.rcond, inputs.root_penalty]
    values += [[source, choice.method] for source, choice in inputs.choices.items()]
    values += [[step.subjects, step.rows.tolist()] for step in taken]
    values += [inputs.test_rows.tolist(), list(inputs.relation.truth.items())]
    for name, columns in (
        (inputs.source_template, inputs.relation.source),
        (inputs.target_template, inputs.relation.target),
    ):
        values += [name, columns.ids.tolist()]
        values += [store.shards.digest(name, rows) for rows in (inputs.fit_rows, inputs.test_rows)]
    return values
