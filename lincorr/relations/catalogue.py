"""Every template and relation that a run may name; a relation's tables are loaded when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lincorr.errors import BadInput
from lincorr.relations import tables
from lincorr.relations.messages import short, suggestion
from lincorr.relations.reading import DeclaredRelation, DeclaredSide, read_declarations
from lincorr.relations.relation import ALL, EVERY_WORDING, FAMILY, Relation, Side, Template


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

    def select(self, wanted: Sequence[str]) -> list[str]:
        """The names of the relations that a run asks for, each once.

        Args:
            wanted: each a relation's name; ``all``; ``family:NAME``, all of one family; or ``NAME.*``, one
                relation in every wording.

        Raises:
            BadInput: one of them is unknown; the nearest names are in the message.
        """
        return list(dict.fromkeys(name for pattern in wanted for name in self._matches(pattern)))

    def relation(self, name: str) -> Relation:
        """The relation of that name, ``city-country`` or, in its second wording, ``city-country.2``.

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
        first, _, _ = name.rpartition(".")
        further = {one.name: one for one in self._further(first)} if first in self.relations else {}
        if name not in further:
            families = (FAMILY + family for family in self.families())
            known = [*further, *self.relations, ALL, *families]
            raise BadInput(f"relation {short(name)} is unknown: {suggestion(name, known)}")
        return further[name]

    def n_wordings(self, name: str) -> int:
        """How many wordings a relation has, the first among them; no table is loaded.

        Raises:
            BadInput: the relation is unknown, or is itself a further wording.
        """
        return 1 + len(self._further(name))

    def paraphrases(self, name: str) -> list[Relation]:
        """A relation in its further wordings, ``NAME.2``, ``NAME.3``, with the same answers and truth.

        The n-th has the n-th wording of both templates; a template that has no n-th stays in its first.
        Empty if neither template has a second wording.

        Raises:
            BadInput: the relation is unknown, or is itself a further wording.
        """
        return [_built(declared) for declared in self._further(name)]

    def _further(self, name: str) -> list[DeclaredRelation]:
        first = self.describe(name)
        if name not in self.relations:
            raise BadInput(f"relation {short(name)} is one wording of a relation: leave the number out")

        def side(declared: DeclaredSide, n: int) -> DeclaredSide:
            others = self.wordings.get(declared.template.name, ())
            return replace(declared, template=others[n - 2]) if n - 2 < len(others) else declared

        most = max(len(self.wordings.get(s.template.name, ())) for s in (first.source, first.target))
        return [
            replace(first, name=f"{name}.{n}", source=side(first.source, n), target=side(first.target, n))
            for n in range(2, most + 2)
        ]

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
        if pattern.endswith(EVERY_WORDING):
            name = pattern.removesuffix(EVERY_WORDING)
            return [name, *(declared.name for declared in self._further(name))]
        self.describe(pattern)
        return [pattern]


def _built(declared: DeclaredRelation) -> Relation:
    truth = declared.truth
    return Relation(
        name=declared.name,
        family=declared.family,
        source=_built_side(declared.source),
        target=_built_side(declared.target),
        truth=tables.TRUTH[truth]() if isinstance(truth, str) else truth,
    )


def _built_side(declared: DeclaredSide) -> Side:
    answers = declared.answers
    names = tables.ANSWERS[answers]() if isinstance(answers, str) else answers
    return Side(declared.template, names)
