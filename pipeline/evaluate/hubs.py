"""Sources that dominate many targets of a map, compared with chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.hubs import count_hubs
from lincorr.scores.relation_scores import Hub, HubTable
from lincorr.solvers.result import LinearMap
from pipeline.config import RunConfig
from pipeline.evaluate.stored_maps import stored_maps

TOP = 5
"""How many of a target's strongest sources count, by default."""

_PANEL = 64  # targets at a time: with every token as a source, 25 to 65 MB


@dataclass(frozen=True, slots=True)
class MapHubs(HubTable):
    """The hubs of one relation's map, among "the answers" or "every token"."""

    relation: str
    map: str
    among: str


def show_hubs(
    config: RunConfig, *, map_name: str | None, count: int, top: int = TOP, all_sources: bool = False
) -> list[MapHubs]:
    """Return the hubs of every relation.

    Args:
        map_name: which fit; default the best-reading one that is stored.
        count: how many hubs.
        top: how many of a target's strongest sources count.
        all_sources: every token of the vocabulary may be one, not only the answers.

    Raises:
        BadInput: there is no such map, or it has no other sources than the answers.
    """
    maps, texts = stored_maps(config, map_name)
    among = "every token" if all_sources else "the answers"
    found = []
    for stored in maps:
        sources = stored.sources(every=all_sources)
        table = hubs_of(stored.fitted, sources, stored.inputs.truth, texts, count=count, top=top)
        parts = {field.name: getattr(table, field.name) for field in fields(table)}
        found.append(MapHubs(**parts, relation=stored.inputs.name, map=stored.name, among=among))
    return found


def hubs_of(
    fitted: LinearMap,
    sources: Sequence[int],
    truth: dict[int, tuple[int, ...]],
    texts: Mapping[int, str] | Sequence[str],
    *,
    count: int,
    top: int = TOP,
) -> HubTable:
    """Return the sources that are among the strongest of the most targets.

    Each has its number of targets, and of how many of them it is known to be a right source.
    """
    targets = fitted.target_ids
    found = count_hubs(_panels(fitted, sources), top)

    def right(source: int) -> int:
        dominated = targets[(found.by_target == source).any(axis=1)]
        return len(set(dominated.tolist()) & set(truth.get(sources[source], ())))

    return HubTable(
        top=found.top,
        sources=len(sources),
        targets=len(targets),
        expected=found.expected,
        bound=found.bound,
        hubs=tuple(
            Hub(texts[sources[i]], int(found.counts[i]), right(i))
            for i in found.strongest(count).tolist()
            if found.counts[i]
        ),
    )


def _panels(fitted: LinearMap, sources: Sequence[int]) -> Iterator[NDArray[np.floating]]:
    for start in range(0, len(fitted.target_ids), _PANEL):
        yield fitted.block(sources, fitted.target_ids[start : start + _PANEL].tolist())
