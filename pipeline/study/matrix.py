"""Every prompt of a family against every other: held-out r of all pairs, each source decomposed once.

Two ways of fitting: *domain*, the paper's (the answers' columns, least squares), and *vocabulary-ridge*
(every token as source column, at the reading penalty of each pair), where hidden states are kept.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import FitInputs, Source
from pipeline.fit.sources import Decompositions
from pipeline.prepare.prepare import RelationInputs, union
from pipeline.study.one_source import Answers, OneSource, fits

_MATRIX = 1  # raised when a matrix would come out otherwise: kept ones are then made again
_WAYS: dict[str, tuple[Source, float | None]] = {
    "domain": ("domain", 0.0),
    "vocabulary-ridge": ("vocabulary", None),
}
_FEWEST = 2  # templates, of which a matrix says something


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template and the columns of its answers in all relations of a family."""

    template: Template
    columns: Columns


def prompts_of(relations: Iterable[RelationInputs]) -> dict[str, list[Prompt]]:
    """Return the prompts of each family, in the order of its relations."""
    families: dict[str, dict[str, Prompt]] = {}
    for inputs in relations:
        known = families.setdefault(inputs.relation.family, {})
        for side, columns in (
            (inputs.relation.source, inputs.source),
            (inputs.relation.target, inputs.target),
        ):
            name = side.template.name
            columns = union(known[name].columns, columns) if name in known else columns
            known[name] = Prompt(side.template, columns)
    return {family: list(prompts.values()) for family, prompts in families.items()}


def as_relations(family: str, prompts: Sequence[Prompt]) -> list[RelationInputs]:
    """Return each prompt as a relation to itself, from which its source is set up."""
    found = []
    for prompt in prompts:
        side = Side(prompt.template, ())
        relation = Relation(f"{prompt.template.name}--itself", family, side, side, ())
        found.append(RelationInputs(relation, prompt.columns, prompt.columns, {}))
    return found


def family_matrix(
    store: LogitStore,
    family: str,
    sources: Sequence[FitInputs],
    shared: Decompositions,
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return a family's matrices, one for each way of fitting; kept in the store, and found there.

    Args:
        sources: each prompt of the family as a relation to itself (`as_relations`).
        shared: decomposed sources.
        advance: is told of every source that is done.

    Returns:
        JSON values: family, fit, templates (name, text, columns), and r, one row for each source and one
        column for each target; None on the diagonal, and where no answer has an r. Nothing for a family of
        one prompt, and no matrix of a way that would not fit into memory.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    ways = [fit for fit, (source, _) in _WAYS.items() if all(fits(inputs, source) for inputs in sources)]
    if len(sources) < _FEWEST or not ways:
        advance(len(sources))
        return []
    name, digest = matrix_name(family), _digest(store, family, sources, ways)
    if store.maps.score_inputs(name) != digest:
        r = _all_pairs(store, sources, ways, shared, advance)
        told = [
            {
                "name": inputs.source_template,
                "text": inputs.relation.relation.source.template.text,
                "columns": len(inputs.relation.source),
            }
            for inputs in sources
        ]
        found = [{"family": family, "fit": fit, "templates": told, "r": r[fit]} for fit in ways]
        store.maps.save_scores(name, {"matrices": found}, digest)
    else:
        advance(len(sources))
    kept: list[dict[str, Any]] = store.maps.load_scores(name)["matrices"]
    return kept


def matrix_name(family: str) -> str:
    """Name of a family's matrices among a store's scores; no relation can have it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", family).strip("-") + "--matrix"


def _all_pairs(
    store: LogitStore,
    sources: Sequence[FitInputs],
    ways: Sequence[str],
    shared: Decompositions,
    advance: Callable[[int], None],
) -> dict[str, list[list[float | None]]]:
    r: dict[str, list[list[float | None]]] = {fit: [] for fit in ways}
    answers = _reader(store, sources)
    for inputs in sources:
        for fit in ways:
            source, root_penalty = _WAYS[fit]
            if root_penalty is None:
                root_penalty = inputs.root_penalty
            one = OneSource.read(store, inputs, source, shared)
            row: list[float | None] = []
            for place, target in enumerate(sources):
                if target is inputs:
                    row.append(None)
                else:
                    [solution] = one.solve(answers(place), (root_penalty,))
                    row.append(None if np.isnan(solution.mean_r) else solution.mean_r)
            r[fit].append(row)
        advance(1)
    return r


def _reader(store: LogitStore, sources: Sequence[FitInputs]) -> Callable[[int], Answers]:
    """Return what reads a prompt's answers; once, where those of all prompts fit into memory together."""

    def read(place: int) -> Answers:
        inputs = sources[place]
        return Answers.read(store, inputs.source_template, inputs.relation.source.ids, inputs)

    first = sources[0]
    columns = sum(len(inputs.relation.source) for inputs in sources)
    size = (
        columns * (len(first.fit_rows) + len(first.test_rows)) * np.dtype(store.identity.precision).itemsize
    )
    return functools.cache(read) if size <= first.memory_bytes // 2 else read


def _digest(store: LogitStore, family: str, sources: Sequence[FitInputs], ways: Sequence[str]) -> str:
    """Hash all that a family's matrices depend on."""
    told: list[Any] = [_MATRIX, family, list(ways)]
    for inputs in sources:
        template = inputs.relation.relation.source.template
        told += [
            [template.name, template.text, inputs.relation.source.ids.tolist()],
            [store.shards.digest(template.name, rows) for rows in (inputs.fit_rows, inputs.test_rows)],
            [inputs.choices[_WAYS[fit][0]].method for fit in ways],
        ]
    first = sources[0]
    told += [first.rcond, first.root_penalty, first.fit_rows.tolist(), first.test_rows.tolist()]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
