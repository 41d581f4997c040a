"""Every template and relation that a run may name; a relation's tables are loaded when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lincorr.errors import BadInput
from lincorr.relations import tables
from lincorr.relations.messages import short, suggestion
from lincorr.relations.reading import DeclaredRelation, DeclaredSide, read_declarations
from lincorr.relations.relation import (
    ALL,
    EVERY_MIXTURE,
    EVERY_WORDING,
    FAMILY,
    Relation,
    Side,
    Template,
    first_wording,
)
from lincorr.relations.wordings import in_mixed_wordings, in_wordings, spelled


def load_catalogue(paths: Sequence[Path] = ()) -> "Catalogue":
    """Return the shipped relations and those of the user's YAML files, which may use the shipped templates.

    User files, and the lists they name, are read and checked here; tables are not loaded.

    Args:
        paths: the user's files. A name that is declared twice must mean the same.

    Raises:
        BadInput: a file cannot be read or is wrong (see `lincorr.relations.reading` for its schema).
    """
    declared = read_declarations([Path(path) for path in paths])
    wordings = {name: tuple(others) for name, others in declared.wordings.items()}
    return Catalogue(declared.templates, Relations(declared.relations), wordings)


class Relations(Mapping[str, Relation]):
    """Relations by name, each built whenever it is looked up: tables are slow to load the first time."""

    def __init__(self, declared: Mapping[str, DeclaredRelation]) -> None:
        self._declared = dict(declared)

    def __getitem__(self, name: str) -> Relation:
        return _built(self._declared[name])

    def __contains__(self, name: object) -> bool:
        return name in self._declared  # Mapping would build the relation to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def declared(self, name: str) -> DeclaredRelation:
        """The relation as it was declared; no table is loaded."""
        return self._declared[name]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every template and relation that a run may name.

    Attributes:
        templates: by name, further wordings (``city.2``) among them.
        relations: by name, in their first wording.
        wordings: template name -> its further wordings, ``city`` -> (``city.2``, ``city.3``).
    """

    templates: Mapping[str, Template]
    relations: Relations
    wordings: Mapping[str, tuple[Template, ...]]

    def names(self) -> list[str]:
        """The relations' names, shipped ones first."""
        return list(self.relations)

    def families(self) -> list[str]:
        """The families that relations belong to, each once."""
        return list(dict.fromkeys(self.relations.declared(name).family for name in self.names()))

    def select(self, wanted: Sequence[str], *, every_wording: bool = False) -> list[str]:
        """The names of the relations that a run asks for, each once.

        Args:
            wanted: each a relation's name; ``all``; ``family:NAME``, all of one family; ``NAME.*``, one
                relation in every wording; or ``NAME.*-*``, every wording of its source with every wording of
                its target.
            every_wording: whether a relation in its first wording stands for all of its wordings.

        Raises:
            BadInput: one of them is unknown; the nearest names are in the message.
        """
        names = dict.fromkeys(name for pattern in wanted for name in self._matches(pattern))
        if every_wording:
            first = self.relations
            patterns = [name + EVERY_WORDING if name in first else name for name in names]
            names = dict.fromkeys(name for pattern in patterns for name in self._matches(pattern))
        return list(names)

    def relation(self, name: str) -> Relation:
        """The relation of that name: ``city-country``; in its second wording, ``city-country.2``; or
        ``city-country.2-3``, with the second wording of its source and the third of its target.

        Raises:
            BadInput: there is none; the nearest names are in the message.
        """
        return _built(self.describe(name))

    def describe(self, name: str) -> DeclaredRelation:
        """A relation's templates, family and names of tables; no table is loaded.

        Raises:
            BadInput: there is none; the nearest names are in the message.
        """
        if name in self.relations:
            return self.relations.declared(name)
        first = first_wording(name)
        wordings = spelled(self.relations.declared(first), self.wordings) if first in self.relations else {}
        if name not in wordings:
            families = (FAMILY + family for family in self.families())
            known = [*wordings, *self.relations, ALL, *families]
            raise BadInput(f"relation {short(name)} is unknown: {suggestion(name, known)}")
        return wordings[name]

    def n_wordings(self, name: str) -> int:
        """How many wordings a relation has, the first among them; no table is loaded.

        Raises:
            BadInput: the relation is unknown, or is itself a further wording.
        """
        return len(in_wordings(self._first(name), self.wordings))

    def paraphrases(self, name: str) -> list[Relation]:
        """A relation in its further wordings, ``NAME.2``, ``NAME.3``, with the same answers and truth.

        The n-th has the n-th wording of both templates; a template that has no n-th stays in its first.
        Empty if neither template has a second wording.

        Raises:
            BadInput: the relation is unknown, or is itself a further wording.
        """
        return [_built(declared) for declared in in_wordings(self._first(name), self.wordings)[1:]]

    def _first(self, name: str) -> DeclaredRelation:
        """The relation of that name, which must not be a further wording."""
        first = self.describe(name)
        if name not in self.relations:
            raise BadInput(f"relation {short(name)} is one wording of a relation: leave the number out")
        return first

    def _matches(self, pattern: str) -> list[str]:
        if pattern == ALL:
            return self.names()
        if pattern.startswith(FAMILY):
            family = pattern.removeprefix(FAMILY)
            if family not in self.families():
                raise BadInput(
                    f"relations: family {short(family)} is unknown: {suggestion(family, self.families())}"
                )
            return [name for name in self.names() if self.relations.declared(name).family == family]
        for ending, every in ((EVERY_MIXTURE, in_mixed_wordings), (EVERY_WORDING, in_wordings)):
            if pattern.endswith(ending):
                first = self._first(pattern.removesuffix(ending))
                return [declared.name for declared in every(first, self.wordings)]
        return [self.describe(pattern).name]


def _built(declared: DeclaredRelation) -> Relation:
    truth = declared.truth
    return Relation(
        name=declared.name,
        family=declared.family,
        source=_built_side(declared.source),
        target=_built_side(declared.target),
        truth=tables.TRUTH[truth]() if isinstance(truth, str) else truth,
        asked=declared.asked,
    )


def _built_side(declared: DeclaredSide) -> Side:
    answers = declared.answers
    names = tables.ANSWERS[answers]() if isinstance(answers, str) else answers
    return Side(declared.template, names)
