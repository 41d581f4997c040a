"""A relation's wordings read together: no one is chosen, and what they have in common remains."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lincorr.scores.relation_scores import Hits
from lincorr.scores.wordings import Wordings
from lincorr.solvers.centred import pooled_rows
from lincorr.store.store import LogitStore
from pipeline.evaluate.reading import hits_both_ways
from pipeline.prepare.relations import RelationInputs


def with_pooled(
    store: LogitStore, relations: Sequence[RelationInputs], wordings: Iterable[Wordings]
) -> tuple[Wordings, ...]:
    """Add to the wordings of each relation what all of them say together.

    Raises:
        BadInput: a map is missing.
    """
    inputs = {relation.name: relation for relation in relations}
    return tuple(
        replace(found, pooled=_pooled_hits(store, [inputs[name] for name in found.names], found.shares))
        for found in wordings
    )


def _pooled_hits(
    store: LogitStore, wordings: Sequence[RelationInputs], shares: Sequence[float]
) -> Hits | None:
    """Return the hit rates of the mean of the wordings' best-reading maps, between their answers.

    None where no pair is known, or where the wordings have other answers.
    """
    first = wordings[0]
    sources, targets = first.source.ids, first.target.ids
    same = all(
        np.array_equal(one.source.ids, sources) and np.array_equal(one.target.ids, targets)
        for one in wordings
    )
    if not first.truth or not same:
        return None
    fit = [fit for fit in store.maps.fits(first.name) if fit.endswith("-ridge")][-1]
    maps = (store.maps.load(one.name, fit) for one in wordings)
    blocks = [fitted.block(sources.tolist(), targets.tolist()) for fitted in maps]
    return hits_both_ways(pooled_rows(blocks, np.asarray(shares)), first)
