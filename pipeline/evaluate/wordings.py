"""Choosing the wording of a relation: by leave-one-out r, never by the truth.

The same question in other words gives another W, and some read twice as well as others. Leave-one-out r on
the fitted subjects tells which: it needs no ground truth, and no held-out subject.
"""

import math
from collections.abc import Iterable, Sequence

from lincorr.errors import BadInput
from lincorr.relations.relation import first_wording
from lincorr.scores.relation_scores import Figure
from lincorr.scores.wordings import Wording, Wordings
from lincorr.store.store import LogitStore
from pipeline.fit.inputs import basis_of
from pipeline.prepare.relations import RelationInputs


def wordings_of(store: LogitStore, relations: Sequence[RelationInputs]) -> tuple[Wordings, ...]:
    """Return the wordings of every relation that was fitted in several, and the chosen ones.

    Raises:
        BadInput: a map is missing.
    """
    groups: dict[str, list[RelationInputs]] = {}
    for relation in relations:
        groups.setdefault(first_wording(relation.name), []).append(relation)
    return tuple(_wordings(store, name, group) for name, group in groups.items() if len(group) > 1)


def relations_read(
    relations: Sequence[RelationInputs], wordings: Iterable[Wordings]
) -> tuple[RelationInputs, ...]:
    """Return the relations to evaluate and show: of several wordings the chosen and the first."""
    left_out = {
        wording.name for found in wordings for wording in found.wordings if wording.name not in found.read
    }
    return tuple(relation for relation in relations if relation.name not in left_out)


def _wordings(store: LogitStore, name: str, group: Sequence[RelationInputs]) -> Wordings:
    found = tuple(_wording(store, relation) for relation in group)
    best = max(found, key=lambda wording: -math.inf if wording.mean_loo_r is None else wording.mean_loo_r)
    return Wordings(name, found, best.name)


def _wording(store: LogitStore, relation: RelationInputs) -> Wording:
    source, target = relation.relation.source.template, relation.relation.target.template
    ridge = {basis_of(fit): fit for fit in store.maps.fits(relation.name) if fit.endswith("-ridge")}
    if not ridge:
        raise BadInput(f"store: no map of {relation.name!r} is stored; run `lincorr fit` first")
    loo_r: dict[str, Figure] = {
        basis: store.maps.diagnosis(relation.name, fit).loo_r for basis, fit in ridge.items()
    }
    return Wording(relation.name, source.text, target.text, loo_r)
