"""The fits of a run: the bases in which each relation can be fitted, their sizes, and a solver for each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lincorr.solvers.choose import Choice, choose
from pipeline.config import FitSettings, RunConfig
from pipeline.plan.costs import FitSizes
from pipeline.plan.counts import RelationCounts, relation_counts
from pipeline.prepare.prepare import Inputs

Basis = Literal["domain", "vocabulary"]  # columns of a fit's source: its answers, or all tokens
_OTHERS = 2  # targets of other relations that serve as controls, where there are any


@dataclass(frozen=True, slots=True)
class FitRun:
    """What all fits of a run share.

    Attributes:
        n, t: rows to fit, and held out.
        n_stored: rows of the store.
        columns: template -> logits that are stored.
        width: d of the model.
        vocabulary_size: V.
        hidden: whether hidden states are stored; linear: whether logits are linear in them.
        itemsize: bytes of a stored number.
    """

    n: int
    t: int
    n_stored: int
    columns: Mapping[str, int]
    width: int
    vocabulary_size: int
    hidden: bool
    linear: bool
    itemsize: int


def choose_fits(
    settings: FitSettings, relations: Iterable[RelationCounts], run: FitRun, memory_bytes: int
) -> dict[tuple[str, Basis], tuple[FitSizes, Choice]]:
    """Choose a solver for every relation in either basis: (relation, basis) -> sizes and solver.

    Without hidden states there is no fit from the full vocabulary, unless all logits are stored.

    Args:
        memory_bytes: what a task may hold.

    Raises:
        BadInput: no solver can take a fit, or not the one that was asked for.
    """
    relations = tuple(relations)
    others = _OTHERS if len(relations) > 1 else 0
    found: dict[tuple[str, Basis], tuple[FitSizes, Choice]] = {}
    for relation in relations:
        for basis, p in _bases(relation, run).items():
            sizes = _fit_sizes(relation, p, run, others)
            choice = choose(
                sizes.n,
                sizes.p,
                sizes.q,
                width=sizes.d,
                hidden=run.hidden,
                linear=run.linear,
                memory_bytes=memory_bytes,
                root_penalty=settings.penalty,
                method=settings.method,
            )
            found[relation.name, basis] = (sizes, choice)
    return found


def prepared_fits(
    config: RunConfig, inputs: Inputs, memory_bytes: int, n_fit: int, *, hidden: bool, linear: bool
) -> dict[tuple[str, Basis], tuple[FitSizes, Choice]]:
    """Choose a solver for every fit of prepared inputs: (relation, basis) -> sizes and solver.

    Args:
        memory_bytes: what a task may hold.
        n_fit: rows to fit.
        hidden: whether the store has hidden states; linear: whether logits are linear in them.

    Raises:
        BadInput: no solver can take a fit, or not the one that was asked for.
    """
    run = FitRun(
        n=n_fit,
        t=len(inputs.subjects) - n_fit,
        n_stored=len(inputs.subjects),
        columns={name: len(columns) for name, columns in inputs.columns.items()},
        width=inputs.width,
        vocabulary_size=len(inputs.token_texts),
        hidden=hidden,
        linear=linear,
        itemsize=np.dtype(config.store.precision).itemsize,
    )
    return choose_fits(config.fit, relation_counts(inputs.relations), run, memory_bytes)


def _bases(relation: RelationCounts, run: FitRun) -> dict[Basis, int]:
    """The bases in which a relation can be fitted, and the columns of each."""
    bases: dict[Basis, int] = {"domain": relation.p}
    if run.hidden or run.columns[relation.source] == run.vocabulary_size:
        bases["vocabulary"] = run.vocabulary_size
    return bases


def _fit_sizes(relation: RelationCounts, p: int, run: FitRun, others: int) -> FitSizes:
    return FitSizes(
        n=run.n,
        t=run.t,
        p=p,
        q=relation.q,
        kept_p=run.columns[relation.source],
        kept_q=run.columns[relation.target],
        d=run.width,
        vocabulary=run.vocabulary_size,
        n_subjects=run.n_stored,
        itemsize=run.itemsize,
        hidden=run.hidden,
        others=others,
    )
