"""A relation in several wordings, and the one that leave-one-out prefers, as types."""

from collections.abc import Mapping
from dataclasses import dataclass

from lincorr.scores.relation_scores import Figure


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


@dataclass(frozen=True, slots=True)
class Wordings:
    """A relation in all wordings that it was fitted in.

    Attributes:
        relation: its name in the first wording.
        wordings: the first one is the paper's, or that of whoever declared the relation.
        chosen: basis -> name of the wording with the best leave-one-out r. The truth has no part in it.
    """

    relation: str
    wordings: tuple[Wording, ...]
    chosen: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the relation in each wording."""
        return tuple(wording.name for wording in self.wordings)

    def of_fit(self, fit: str) -> str:
        """Name of the wording that is chosen for a fit, one of `lincorr.scores.relation_scores.FITS`."""
        return self.chosen[fit.removesuffix("-ridge")]

    @property
    def basis(self) -> str:
        """The basis whose W reads best: the vocabulary, where it was fitted."""
        return "vocabulary" if "vocabulary" in self.chosen else "domain"

    @property
    def best(self) -> str:
        """Name of the wording that is chosen for it."""
        return self.chosen[self.basis]

    @property
    def read(self) -> tuple[str, ...]:
        """The names of the first wording and of the chosen ones, each once."""
        return tuple(dict.fromkeys([self.wordings[0].name, *self.chosen.values()]))
