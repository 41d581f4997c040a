"""Relations: two prompts with one slot, the answers to each, and which answers go together.

The relations that ship and those of a user are YAML files of one schema::

    templates:
      city: "{} lives in the city of"
    relations:
      city-country:
        family: attribute
        source: {template: city, answers: cities}
        target: {template: country, answers: {file: countries.csv}}
        truth: city-country

``answers`` is the name of a table in `lincorr.relations.tables`, ``{file: PATH}`` (PATH is relative to the
YAML file), or a list of words. ``truth`` is the same with pairs in place of words, and may be left
out. A third section, ``paraphrases: {city: ["{} has a home in the city of"]}``, has further wordings of a
template, named ``city.2``, ``city.3``. Every refusal is one line: which file, which setting, which value,
and what mends it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lincorr.errors import BadInput
from lincorr.relations import tables
from lincorr.relations.lists import couples, read_answers, read_pairs, read_text, tidy, tidy_pairs, words
from lincorr.relations.relation import (
    _WORDING,
    Names,
    Pairs,
    Relation,
    Side,
    Template,
    _slot_problem,
    one_line,
    shown,
    suggest,
)
from lincorr.relations.settings import Setting
from lincorr.strict import load_strict

CATALOGUE = Path(__file__).parent / "shipped"


# What a run may write in place of a relation's name.
ALL = "all"


FAMILY = "family:"


EVERY_WORDING = ".*"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SideSource:
    """A side before its answers are built: a table's name, or the names themselves."""

    template: Template
    answers: str | Names


@dataclass(frozen=True, slots=True)
class RelationSource:
    """A relation before its tables are built; enough to list it."""

    name: str
    family: str
    source: SideSource
    target: SideSource
    truth: str | Pairs


class LazyRelations(Mapping[str, Relation]):
    """Relations by name, each built when it is first asked for: the tables are slow to load."""

    def __init__(self, sources: Mapping[str, RelationSource]) -> None:
        self._sources = dict(sources)

    def __getitem__(self, name: str) -> Relation:
        return _build(self._sources[name])

    def __contains__(self, name: object) -> bool:
        return name in self._sources  # Mapping would build the relation to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def source(self, name: str) -> RelationSource:
        """The relation as it was declared, no table loaded."""
        return self._sources[name]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every template and relation that a run may name.

    Attributes:
        templates: by name, further wordings (``city.2``) among them.
        relations: by name, in their first wording.
        wordings: template name -> its further wordings, ``city`` -> (``city.2``, ``city.3``).
    """

    templates: Mapping[str, Template]
    relations: LazyRelations
    wordings: Mapping[str, tuple[Template, ...]]

    def names(self) -> list[str]:
        """The relations' names, shipped ones first."""
        return list(self.relations)

    def families(self) -> list[str]:
        """The families that relations belong to, each once."""
        return list(dict.fromkeys(self.relations.source(name).family for name in self.names()))

    def select(self, wanted: Sequence[str]) -> list[str]:
        """The names of the relations that a run asks for, none twice.

        Args:
            wanted: each a relation's name; ``all``; ``family:NAME``, all of one family; or ``NAME.*``, one
                relation in every wording.

        Raises:
            BadInput: one of them is unknown; the nearest names are in the message.
        """
        return list(dict.fromkeys(name for words in wanted for name in self._meant(words)))

    def relation(self, name: str) -> Relation:
        """The relation of that name, ``city-country`` or, in its second wording, ``city-country.2``.

        Raises BadInput, with the nearest names, if there is none.
        """
        return _build(self.describe(name))

    def describe(self, name: str) -> RelationSource:
        """What to list of a relation (templates, family, tables), without loading any table."""
        if name in self.relations:
            return self.relations.source(name)
        first, _, _ = name.rpartition(".")
        further = {source.name: source for source in self._further(first)} if first in self.relations else {}
        if name not in further:
            families = (FAMILY + family for family in self.families())
            known = [*further, *self.relations, ALL, *families]
            raise BadInput(f"relation {shown(name)} is unknown: {suggest(name, known)}")
        return further[name]

    def n_wordings(self, name: str) -> int:
        """How many wordings a relation has, the first among them; no table is loaded."""
        return 1 + len(self._further(name))

    def paraphrases(self, name: str) -> list[Relation]:
        """A relation in its further wordings, ``NAME.2``, ``NAME.3``: the answers and the truth are the same.

        The n-th has the n-th wording of both templates; one that has no n-th stays in its first. Empty if
        neither template has a second wording. Raises BadInput for an unknown relation.
        """
        return [_build(source) for source in self._further(name)]

    def _further(self, name: str) -> list[RelationSource]:
        first = self.describe(name)
        if name not in self.relations:
            raise BadInput(f"relation {shown(name)} is one wording of a relation: leave the number out")

        def side(declared: SideSource, n: int) -> SideSource:
            others = self.wordings.get(declared.template.name, ())
            return replace(declared, template=others[n - 2]) if n - 2 < len(others) else declared

        most = max(len(self.wordings.get(s.template.name, ())) for s in (first.source, first.target))
        return [
            replace(first, name=f"{name}.{n}", source=side(first.source, n), target=side(first.target, n))
            for n in range(2, most + 2)
        ]

    def _meant(self, words: str) -> list[str]:
        if words == ALL:
            return self.names()
        if words.startswith(FAMILY):
            family = words.removeprefix(FAMILY)
            if family not in self.families():
                raise BadInput(
                    f"relations: family {shown(family)} is unknown: {suggest(family, self.families())}"
                )
            return [name for name in self.names() if self.relations.source(name).family == family]
        if words.endswith(EVERY_WORDING):
            name = words.removesuffix(EVERY_WORDING)
            return [name, *(source.name for source in self._further(name))]
        self.describe(words)
        return [words]


def load_catalogue(paths: Sequence[Path] = ()) -> Catalogue:
    """The shipped relations, then those of the user's YAML files, which may use their templates.

    User files, and the lists they name, are read and checked here; tables are not
    loaded. A name declared twice must mean the same. Raises BadInput.
    """
    shipped = _read_shipped()
    wordings = {name: list(others) for name, others in shipped.wordings.items()}
    read = _Read(dict(shipped.templates), wordings, dict(shipped.relations))
    for path in paths:
        _read_catalogue(Path(path), read)
    numbered = {name: tuple(others) for name, others in read.wordings.items()}
    return Catalogue(read.templates, LazyRelations(read.relations), numbered)


# Building


def _build(declared: RelationSource) -> Relation:
    truth = declared.truth
    return Relation(
        name=declared.name,
        family=declared.family,
        source=_side(declared.source),
        target=_side(declared.target),
        truth=tables.TRUTH[truth]() if isinstance(truth, str) else truth,
    )


def _side(declared: SideSource) -> Side:
    answers = declared.answers
    names = tables.ANSWERS[answers]() if isinstance(answers, str) else answers
    return Side(declared.template, names)


# Catalogue files

# In the order in which they are listed; a later one may use an earlier one's templates.
_SHIPPED = ("attributes", "further", "languages", "similes", "arithmetic")


@cache
def _read_shipped() -> "_Read":
    read = _Read({}, {}, {})
    for name in _SHIPPED:
        _read_catalogue(CATALOGUE / f"{name}.yaml", read)
    return read


@dataclass(frozen=True, slots=True)
class _Read:
    """What the files read so far declare."""

    templates: dict[str, Template]
    wordings: dict[str, list[Template]]
    relations: dict[str, RelationSource]


def _read_catalogue(path: Path, read: _Read) -> None:
    """Add one file's templates, paraphrases and relations to those read before it."""
    root = Setting(path, "", _yaml(path)).section(("templates", "paraphrases", "relations"))
    for setting in root.get("templates", Setting(path, "templates", {})).entries():
        _declare(setting, Template(setting.name, _template_text(setting)), read.templates)
    for setting in root.get("paraphrases", Setting(path, "paraphrases", {})).entries():
        _paraphrase(setting, read)
    for setting in root.get("relations", Setting(path, "relations", {})).entries():
        relation = _relation(setting, read.templates)
        if read.relations.setdefault(relation.name, relation) != relation:
            setting.refuse(f"{relation.name!r} is already another relation: choose another name")


def _declare(setting: "Setting", template: Template, templates: dict[str, Template]) -> None:
    known = templates.setdefault(template.name, template)
    if known != template:
        setting.refuse(f"{template.name!r} already stands for {shown(known.text)}: choose another name")


def _paraphrase(setting: "Setting", read: _Read) -> None:
    """Number a template's further wordings behind those it has; one that it has already is passed over."""
    if setting.name not in read.templates:
        setting.refuse(f"unknown template {shown(setting.name)}: {suggest(setting.name, read.templates)}")
    others = read.wordings.setdefault(setting.name, [])
    for text in setting.texts():
        if text.value not in [read.templates[setting.name].text, *(other.text for other in others)]:
            others.append(Template(f"{setting.name}.{len(others) + 2}", _template_text(text)))
            _declare(text, others[-1], read.templates)


def _template_text(setting: Setting) -> str:
    text = setting.text()
    problem = _slot_problem(text)
    if problem:
        setting.refuse(f"{shown(text)} {problem}")
    return text


def _relation(setting: Setting, templates: Mapping[str, Template]) -> RelationSource:
    if setting.name == ALL:
        setting.refuse(f"{ALL!r} means every relation: choose another name")
    if _WORDING.search(setting.name):
        setting.refuse(f"{setting.name!r} ends in a number, as wordings do: choose another name")
    given = setting.section(("family", "source", "target", "truth"), ("source", "target"))
    return RelationSource(
        name=setting.name,
        family=given["family"].text() if "family" in given else "custom",
        source=_declared_side(given["source"], templates),
        target=_declared_side(given["target"], templates),
        truth=_truth(given["truth"]) if "truth" in given else (),
    )


def _declared_side(setting: Setting, templates: Mapping[str, Template]) -> SideSource:
    given = setting.section(("template", "answers"), ("template", "answers"))
    name = given["template"].text()
    if name not in templates:
        given["template"].refuse(f"unknown template {shown(name)}: {suggest(name, templates)}")
    return SideSource(templates[name], _answers(given["answers"]))


def _answers(setting: Setting) -> str | Names:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.ANSWERS)
    if isinstance(value, dict):
        return _read(setting, read_answers)
    names = tidy(words(value, setting.refuse))
    if not names:
        setting.refuse("[] holds no name: give at least one")
    return names


def _truth(setting: Setting) -> str | Pairs:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.TRUTH)
    if isinstance(value, dict):
        return _read(setting, read_pairs)
    pairs = tidy_pairs(couples(value, setting.refuse))
    if not pairs:
        setting.refuse("[] holds no pair: give at least one, or leave truth out")
    return pairs


def _table(setting: Setting, tables: Mapping[str, object]) -> str:
    name = setting.text()
    if name not in tables:
        setting.refuse(
            f"unknown table {shown(name)}: {suggest(name, tables)} "
            "(for a list of your own write {file: PATH})"
        )
    return name


def _read(setting: Setting, read: Callable[[Path], tuple[T, ...]]) -> tuple[T, ...]:
    """The list in the file that the setting names; a refusal names the setting as well."""
    file = setting.section(("file",), ("file",))["file"].text()
    try:
        return read(setting.path.parent / file)
    except BadInput as error:
        setting.refuse(str(error))


# YAML and text


def _yaml(path: Path) -> Any:
    text = read_text(path)
    try:
        return load_strict(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadInput(f"{path}: {where}not valid YAML: {one_line(error.problem)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not valid YAML: {one_line(error)}") from None
