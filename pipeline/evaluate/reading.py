"""Read W against the truth: hit rates, the strongest links of well-known sources, and a block to draw.

What is read is centred (see `lincorr.solvers.centred`): callers centre the maps whose links are shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lincorr.arrays import Array, to_host
from lincorr.scores.hits import Hits as FoundHits
from lincorr.scores.hits import hit_shares, hits
from lincorr.scores.relation_scores import Heatmap, HitRates, Hits, HubTable, Link, Shares, SourceLinks
from lincorr.solvers.centred import centred_rows
from lincorr.solvers.result import LinearMap
from lincorr.solvers.spectrum import Problem
from pipeline.evaluate.hubs import hubs_of
from pipeline.fit.inputs import FitInputs
from pipeline.prepare.relations import RelationInputs

_STRONGEST = 5
_HUBS = 12


def hit_rates(fitted: LinearMap, inputs: FitInputs) -> tuple[Hits | None, Hits | None]:
    """Return hit@k both ways: a source's row of W, and a target's column among the domain's sources.

    Of a map as it is read, with its rows centred, and as it was fitted.
    """
    if not inputs.relation.truth:
        return None, None
    domain = fitted.block(inputs.relation.source.ids.tolist(), fitted.target_ids.tolist())
    return hits_both_ways(centred_rows(domain), inputs.relation), hits_both_ways(domain, inputs.relation)


def hits_both_ways(domain: NDArray[np.floating], relation: RelationInputs) -> Hits:
    """Return the same of W (p, q) between a relation's answers."""
    by_source, by_target = truth_positions(relation)
    return Hits(_rates(hits(domain, by_source)), _rates(hits(domain.T, by_target)))


@dataclass(frozen=True, slots=True)
class KnownSources:
    """The sources with a known target, to read solutions that are no maps.

    Attributes:
        rows: of W.
        targets: positions of the right targets, row by row.
    """

    rows: NDArray[np.int64]
    targets: dict[int, list[int]]

    @classmethod
    def of(cls, fitted: LinearMap, relation: RelationInputs) -> "KnownSources":
        """Find them among the sources of a relation's map."""
        by_source, _ = truth_positions(relation)
        return cls(fitted.rows_of(list(relation.truth)), dict(enumerate(by_source.values())))

    def hits(self, problem: Problem, solution: Array) -> dict[int, float]:
        """Return hit@k of a solution; {} where there are no such sources."""
        if not self.targets:
            return {}
        return hit_shares(to_host(problem.rows(solution, self.rows)), self.targets)


def truth_positions(relation: RelationInputs) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the truth in positions of the domain's columns: by source and by target."""
    row = {token: i for i, token in enumerate(relation.source.ids.tolist())}
    column = {token: i for i, token in enumerate(relation.target.ids.tolist())}
    by_source = {row[token]: [column[t] for t in targets] for token, targets in relation.truth.items()}
    by_target: dict[int, list[int]] = {}
    for source, targets in by_source.items():
        for target in targets:
            by_target.setdefault(target, []).append(source)
    return by_source, by_target


def _rates(found: FoundHits) -> HitRates:
    chance, low, high = (Shares(of[1], of[3], of[5]) for of in (found.chance, found.low, found.high))
    bounded = not math.isnan(found.low[1])
    return HitRates(
        found.at[1],
        found.at[3],
        found.at[5],
        of=found.of,
        chance=chance,
        low=low if bounded else None,
        high=high if bounded else None,
    )


class Texts(NamedTuple):
    """What to show for the source and target tokens of one relation."""

    source: Mapping[int, str]
    target: Mapping[int, str]

    @classmethod
    def of(cls, inputs: FitInputs) -> "Texts":
        """Show the whole name for a token that is only its beginning, but counts for it."""
        sides = (inputs.relation.source, inputs.relation.target)
        return cls(
            *(dict(zip(side.ids.tolist(), side.texts, strict=True)) | side.longer_names() for side in sides)
        )


def strongest(maps: Mapping[str, LinearMap], inputs: FitInputs, token: int, texts: Texts) -> SourceLinks:
    """Return the strongest targets of a source in each map."""
    right = inputs.relation.truth.get(token, ())
    by_fit = {
        name: tuple(
            Link(texts.target[target], weight, target in right)
            for target, weight in fitted.strongest_targets(token, _STRONGEST)
        )
        for name, fitted in maps.items()
    }
    return SourceLinks(texts.source[token], tuple(texts.target[target] for target in right), by_fit)


def hubs(fitted: LinearMap, inputs: FitInputs, texts: Texts) -> HubTable:
    """Return the answers that are among the strongest sources of the most targets (see `hubs.py`)."""
    sources = inputs.relation.source.ids.tolist()
    return hubs_of(fitted, sources, inputs.relation.truth, texts.source, count=_HUBS)


def heatmap(name: str, fitted: LinearMap, inputs: FitInputs, sources: list[int], texts: Texts) -> Heatmap:
    """Return the block of W between some sources and their right targets."""
    truth = inputs.relation.truth
    targets = list(dict.fromkeys(t for token in sources for t in truth.get(token, ())))
    targets = targets or inputs.relation.target.ids[: len(sources)].tolist()
    return Heatmap(
        fit=name,
        sources=tuple(texts.source[token] for token in sources),
        targets=tuple(texts.target[token] for token in targets),
        weights=tuple(map(tuple, fitted.block(sources, targets).tolist())),
        right=tuple(tuple(target in truth.get(token, ()) for target in targets) for token in sources),
    )
