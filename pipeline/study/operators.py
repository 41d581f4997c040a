"""Whose operator is it? Each map on the held-out rows of every relation with the same targets.

After *The Structure of Relation Decoding Linear Operators in Large Language Models* (arXiv 2510.26543), where
operators follow properties (the country of X) rather than relations. Products only: no forward pass, no fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lincorr.scores.moments import finite_mean
from lincorr.scores.relation_scores import Hits
from lincorr.scores.study import ANSWERS, FAMILY, WORDINGS, Applied, OperatorGroup
from lincorr.store.cached import cached
from lincorr.store.store import LogitStore
from pipeline.evaluate.reading import hits_both_ways
from pipeline.fit.inputs import FitInputs
from pipeline.fit.sources import SourceCache
from pipeline.plan.memory import holds_products
from pipeline.study.exchanged import ExchangedMaps
from pipeline.study.families import first_wording
from pipeline.study.joint_rank import joint_rank


@dataclass(frozen=True, slots=True)
class Group:
    """Relations whose maps of one fit can be exchanged, as in `OperatorGroup`."""

    name: str
    kind: str
    fit: str
    members: tuple[FitInputs, ...]

    @property
    def cached_as(self) -> str:
        """Name among a store's scores; no relation can have it."""
        return f"{self.members[0].relation.name}--{self.kind}-{self.fit}"


def groups_of(inputs: Sequence[FitInputs]) -> list[Group]:
    """Return every group of two or more relations of a study, for each fit that is read.

    Groups of relations have first wordings only; the wordings of a relation are a group of their own.
    """
    names = [one.relation.name for one in inputs]
    first = {name: first_wording(name, names) for name in names}
    firsts = [one for one in inputs if first[one.relation.name] == one.relation.name]
    found: list[Group] = []
    for fit in dict.fromkeys(fit for one in inputs for fit in one.read_fits):
        having = [one for one in firsts if fit in one.all_fits]
        alike = _alike(having, fit, targets=True)
        found += [Group(_answers_of(some), ANSWERS, fit, some) for some in alike]
        for name in dict.fromkeys(first.values()):
            wordings = [one for one in inputs if first[one.relation.name] == name and fit in one.all_fits]
            found += [Group(name, WORDINGS, fit, some) for some in _alike(wordings, fit, targets=True)]
        for family in dict.fromkeys(one.relation.relation.family for one in having):
            members = [one for one in having if one.relation.relation.family == family]
            known = [[one.relation.name for one in some] for some in alike]
            groups = _alike(members, fit, targets=False)
            found += [
                Group(family, FAMILY, fit, g) for g in groups if [m.relation.name for m in g] not in known
            ]
    return found


def _answers_of(members: Sequence[FitInputs]) -> str:
    """Name what the answers of some relations are, by their target prompts."""
    asked = dict.fromkeys(one.relation.relation.target.template.attribute for one in members)
    first, *more = asked
    return f"{first} and {len(more)} more" if more else first


def _alike(inputs: Iterable[FitInputs], fit: str, *, targets: bool) -> list[tuple[FitInputs, ...]]:
    """Return the groups of relations with the same source columns in a fit, and with the same targets."""
    groups: dict[tuple[bytes, bytes], list[FitInputs]] = {}
    for one in inputs:
        source = b"" if fit.startswith("vocabulary") else one.relation.source.ids.tobytes()
        target = one.relation.target.ids.tobytes() if targets else b""
        groups.setdefault((source, target), []).append(one)
    return [tuple(some) for some in groups.values() if len(some) > 1]


def operators_of(store: LogitStore, group: Group, shared: SourceCache) -> OperatorGroup | None:
    """Return a group's matrix and joint rank, cached in the store; None where they do not fit into memory.

    Args:
        shared: the store's output head.

    Raises:
        StoreDamaged: a row or a map is missing or damaged.
    """
    maps = ExchangedMaps(store, group.fit, group.members, shared)

    def compute() -> OperatorGroup:
        return OperatorGroup(
            name=group.name,
            kind=group.kind,
            fit=group.fit,
            relations=tuple(one.relation.name for one in group.members),
            applied=None if group.kind == FAMILY else _applied(maps),
            joint=joint_rank(maps),
        )

    if not holds_products(maps.width, len(group.members), group.members[0].memory_bytes):
        return None
    return cached(store.maps, group.cached_as, OperatorGroup, _depends_on(store, group), compute)


def _applied(maps: ExchangedMaps) -> tuple[tuple[Applied, ...], ...]:
    """Return a row for each map, a column for each relation whose held-out rows it is applied to."""
    nothing = np.zeros(maps.weights[0].shape[1])  # r does not see an intercept
    of_rows = [
        [finite_mean(moments.correlation(w, nothing).pearson()) for w in maps.weights]
        for moments in maps.held_out
    ]
    return tuple(
        tuple(Applied(rows[number], hits) for rows, hits in zip(of_rows, _hits(maps, number), strict=True))
        for number in range(len(maps.members))
    )


def _hits(maps: ExchangedMaps, number: int) -> list[Hits | None]:
    """Read a map against the ground truth of every relation that has one."""
    known = [one for one in maps.members if one.relation.truth]
    found = dict(zip((one.relation.name for one in known), maps.read(number, known), strict=True))
    return [
        hits_both_ways(found[one.relation.name], one.relation) if one.relation.truth else None
        for one in maps.members
    ]


def _depends_on(store: LogitStore, group: Group) -> list[Any]:
    """Return all that a group's result depends on: maps, held-out rows, ground truth."""
    values: list[Any] = [group.name, group.kind, group.fit]
    for one in group.members:
        templates = (one.source_template, one.target_template)
        values += [
            [one.relation.name, store.maps.inputs(one.relation.name, group.fit)],
            [one.relation.source.ids.tolist(), list(one.relation.truth.items())],
            [store.shards.digest(name, rows) for name in templates for rows in (one.fit_rows, one.test_rows)],
        ]
    return [*values, group.members[0].test_rows.tolist()]
