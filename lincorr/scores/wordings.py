"""A relation in several wordings, and the one that leave-one-out prefers, as types."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lincorr.scores.relation_scores import Figure, Hits

_LEFT = 1e-6  # of the variance: what float32 logits leave unexplained in any case


@dataclass(frozen=True, slots=True)
class Wording:
    """One wording of a relation.

    Attributes:
        name: of the relation in this wording, ``city-country.2``.
        source, target: the texts of its prompts.
        loo_r: basis -> leave-one-out r of its ridge fit over the fitted subjects (`Diagnosis.loo_r`).
    """

    name: str
    source: str
    target: str
    loo_r: Mapping[str, Figure]

    @property
    def mean_loo_r(self) -> Figure:
        """Its mean over the bases; None where one is not known."""
        known = [r for r in self.loo_r.values() if r is not None and not math.isnan(r)]
        return sum(known) / len(known) if known and len(known) == len(self.loo_r) else None


@dataclass(frozen=True, slots=True)
class Wordings:
    """A relation in all wordings that it was fitted in.

    Attributes:
        relation: its name in the first wording.
        wordings: the first one is the paper's, or that of whoever declared the relation.
        chosen: name of the wording with the best mean leave-one-out r. The truth has no part in it.
        pooled: hit rates of all wordings' best-reading maps together (see `shares`); None if not known.
    """

    relation: str
    wordings: tuple[Wording, ...]
    chosen: str
    pooled: Hits | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the relation in each wording."""
        return tuple(wording.name for wording in self.wordings)

    @property
    def shares(self) -> tuple[float, ...]:
        """What each wording counts in the mean of all: variance that is explained over variance that is not.

        r² / (1 - r²) of its leave-one-out r, the inverse variance of a map of norm 1 if all have one
        truth in common; equal where an r is not known, or none is positive.
        """
        known = [max(r, 0.0) for wording in self.wordings if (r := wording.mean_loo_r) is not None]
        if len(known) < len(self.wordings) or not any(known):
            return (1.0,) * len(self.wordings)
        return tuple(r**2 / max(1 - r**2, _LEFT) for r in known)

    @property
    def read(self) -> tuple[str, ...]:
        """The names of the first wording and of the chosen one, each once."""
        return tuple(dict.fromkeys([self.names[0], self.chosen]))
