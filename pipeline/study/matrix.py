"""Every prompt of a family against every other: held-out r of all pairs, each source decomposed once.

Two ways of fitting: *domain*, the paper's (the answers' columns, least squares), and *vocabulary-ridge*
(every token as source column, at the reading penalty of each pair), where hidden states are stored.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lincorr.prompts.columns import Columns
from lincorr.relations.relation import Relation, Side, Template
from lincorr.scores.relation_scores import Figure
from lincorr.scores.study import Matrices, Matrix, MatrixPrompt
from lincorr.store.cached import cached
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import Basis, FitInputs
from pipeline.fit.sources import SourceCache
from pipeline.plan.memory import holds_answers
from pipeline.prepare.relations import RelationInputs, union
from pipeline.study.one_source import Answers, OneSource, fits

_WAYS: dict[str, tuple[Basis, float | None]] = {
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
    shared: SourceCache,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Matrix, ...]:
    """Return a family's matrices, one for each way of fitting; cached in the store.

    Nothing for a family of one prompt, and no matrix of a way that does not fit into memory.

    Args:
        sources: each prompt of the family as a relation to itself (`as_relations`).
        shared: decomposed sources.
        advance: called with the number of sources that were finished.

    Raises:
        StoreDamaged: a row is missing or damaged.
    """
    ways = [fit for fit, (source, _) in _WAYS.items() if all(fits(inputs, source) for inputs in sources)]
    if len(sources) < _FEWEST or not ways:
        advance(len(sources))
        return ()
    finished = 0

    def count(number: int) -> None:
        nonlocal finished
        finished += number
        advance(number)

    def compute() -> Matrices:
        r = _all_pairs(store, sources, ways, shared, count)
        prompts = tuple(_described(inputs) for inputs in sources)
        return Matrices(tuple(Matrix(family, fit, prompts, r[fit]) for fit in ways))

    depends_on = _depends_on(store, family, sources, ways)
    found = cached(store.maps, matrix_name(family), Matrices, depends_on, compute)
    advance(len(sources) - finished)
    return found.matrices


def _described(inputs: FitInputs) -> MatrixPrompt:
    text = inputs.relation.relation.source.template.text
    return MatrixPrompt(inputs.source_template, text, len(inputs.relation.source))


def matrix_name(family: str) -> str:
    """Name of a family's matrices among a store's scores; no relation and no other family can have it."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", family).strip("-") or "family"
    if plain != family:  # others may be as plain: a dot is in no such name
        plain += f".{hashlib.sha256(family.encode()).hexdigest()[:8]}"
    return f"{plain}--matrix"


def _all_pairs(
    store: LogitStore,
    sources: Sequence[FitInputs],
    ways: Sequence[str],
    shared: SourceCache,
    advance: Callable[[int], None],
) -> dict[str, tuple[tuple[Figure, ...], ...]]:
    r: dict[str, list[tuple[Figure, ...]]] = {fit: [] for fit in ways}
    answers = _reader(store, sources)
    for inputs in sources:
        for fit in ways:
            source, root_penalty = _WAYS[fit]
            if root_penalty is None:
                root_penalty = inputs.root_penalty
            one = OneSource.read(store, inputs, source, shared)
            row: list[Figure] = []
            for position, target in enumerate(sources):
                if target is inputs:
                    row.append(None)
                else:
                    [solution] = one.solve(answers(position), (root_penalty,))
                    row.append(None if np.isnan(solution.mean_r) else solution.mean_r)
            r[fit].append(tuple(row))
        advance(1)
    return {fit: tuple(rows) for fit, rows in r.items()}


def _reader(store: LogitStore, sources: Sequence[FitInputs]) -> Callable[[int], Answers]:
    """Return a reader of a prompt's answers; it caches them where those of all prompts fit into memory."""

    def read(position: int) -> Answers:
        inputs = sources[position]
        return Answers.read(store, inputs.source_template, inputs.relation.source.ids, inputs)

    first = sources[0]
    columns = sum(len(inputs.relation.source) for inputs in sources)
    size = (
        columns * (len(first.fit_rows) + len(first.test_rows)) * np.dtype(store.identity.precision).itemsize
    )
    return functools.cache(read) if holds_answers(size, first.memory_bytes) else read


def _depends_on(
    store: LogitStore, family: str, sources: Sequence[FitInputs], ways: Sequence[str]
) -> list[Any]:
    """Return all that a family's matrices depend on."""
    values: list[Any] = [family, list(ways)]
    for inputs in sources:
        template = inputs.relation.relation.source.template
        values += [
            [template.name, template.text, inputs.relation.source.ids.tolist()],
            [store.shards.digest(template.name, rows) for rows in (inputs.fit_rows, inputs.test_rows)],
            [inputs.choices[_WAYS[fit][0]].method for fit in ways],
        ]
    first = sources[0]
    values += [first.rcond, first.root_penalty, first.fit_rows.tolist(), first.test_rows.tolist()]
    return values
