"""Sources that dominate many targets of a map, beside what chance gives."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lincorr.scores.hubs import count_hubs
from lincorr.solvers.result import LinearMap
from pipeline.config import RunConfig
from pipeline.evaluate.kept_maps import kept_maps

TOP = 5
"""A target's strongest sources, where nobody says how many."""

_PANEL = 64  # targets at a time: with every token as a source, 25 to 65 MB


def show_hubs(
    config: RunConfig, *, map_name: str | None, count: int, top: int = TOP, all_sources: bool = False
) -> list[dict[str, Any]]:
    """Return the hubs of every relation, as JSON values.

    Args:
        map_name: which fit; default the best-reading one that is kept.
        count: how many hubs.
        top: how many of a target's strongest sources count.
        all_sources: every token of the vocabulary may be one, not only the answers.

    Raises:
        BadInput: there is no such map, or it has no other sources than the answers.
    """
    maps, texts = kept_maps(config, map_name)
    return [
        {
            "relation": kept.inputs.name,
            "map": kept.name,
            "among": "every token" if all_sources else "the answers",
            **hubs_of(
                kept.fitted, kept.sources(every=all_sources), kept.inputs.truth, texts, count=count, top=top
            ),
        }
        for kept in maps
    ]


def hubs_of(
    fitted: LinearMap,
    sources: Sequence[int],
    truth: dict[int, tuple[int, ...]],
    texts: Sequence[str],
    *,
    count: int,
    top: int = TOP,
) -> dict[str, Any]:
    """Return the sources that are among the strongest of the most targets, as JSON values.

    Each has its number of targets, and of how many of them it is known to be a right source.
    """
    targets = fitted.target_ids
    found = count_hubs(_panels(fitted, sources), top)

    def right(place: int) -> int:
        dominated = targets[(found.by_target == place).any(axis=1)]
        return len(set(dominated.tolist()) & set(truth.get(sources[place], ())))

    return {
        "top": found.top,
        "sources": len(sources),
        "targets": len(targets),
        "expected": found.expected,
        "bound": found.bound,
        "hubs": [
            {"token": texts[sources[place]], "targets": int(found.counts[place]), "right": right(place)}
            for place in found.strongest(count).tolist()
            if found.counts[place]
        ],
    }


def _panels(fitted: LinearMap, sources: Sequence[int]) -> Iterator[NDArray[np.floating]]:
    for start in range(0, len(fitted.target_ids), _PANEL):
        yield fitted.block(sources, fitted.target_ids[start : start + _PANEL].tolist())
