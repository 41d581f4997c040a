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

``answers`` is the name of a table in `lincorr.tables`, ``{file: PATH}`` (PATH is relative to the
YAML file), or a list of words. ``truth`` is the same with pairs in place of words, and may be left
out. A third section, ``paraphrases: {city: ["{} has a home in the city of"]}``, has further wordings of a
template, named ``city.2``, ``city.3``. Every refusal is one line: which file, which setting, which value,
and what mends it.
"""

import csv
import difflib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from lincorr import tables
from lincorr.errors import BadInput
from lincorr.strict_yaml import load_strict

CATALOGUE = Path(__file__).parent / "catalogue"
SLOT = "{}"

# The end of "city.2", the second wording of "city".
_WORDING = re.compile(r"\.\d+$")

# What a run may write in place of a relation's name.
ALL = "all"
FAMILY = "family:"
EVERY_WORDING = ".*"

T = TypeVar("T")
Names = tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with exactly one slot ``{}`` for the subject; raises BadInput for any other."""

    name: str
    text: str

    def __post_init__(self) -> None:
        problem = _slot_problem(self.text)
        if problem:
            raise BadInput(f"template {self.name!r}: {_shown(self.text)} {problem}")

    @property
    def before(self) -> str:
        """The text before the slot, often empty."""
        return self.text.partition(SLOT)[0]

    @property
    def after(self) -> str:
        """The text after the slot."""
        return self.text.partition(SLOT)[2]

    @property
    def attribute(self) -> str:
        """The name of its first wording: "city" of "city.2", and of "city" itself."""
        return _WORDING.sub("", self.name)

    @property
    def gap(self) -> str:
        """What stands between the prompt and its answer: a space, or nothing.

        Nothing behind a mathematical sign ("X+1="), a hyphen, an opening bracket or blank, and in scripts
        that set no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
        """
        # behind the slot itself, the text before it tells the script
        last = self.before.rstrip()[-1:] if self.text.endswith(SLOT) else self.text[-1]
        return "" if last and not _takes_space(last) else " "


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt and the names that may answer it, most prominent first, none twice."""

    template: Template
    answers: Names


@dataclass(frozen=True, slots=True)
class Relation:
    """Two sides and the (source answer, target answer) pairs known to be right.

    A source answer may have several right targets. Pairs may reach beyond the answers.
    """

    name: str
    family: str
    source: Side
    target: Side
    truth: Pairs


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


_UNSPACED = ("THAI", "LAO", "KHMER", "MYANMAR")


def _takes_space(letter: str) -> bool:
    if letter.isspace() or unicodedata.category(letter) in ("Sm", "Pd", "Ps", "Pi"):
        return False
    script = unicodedata.name(letter, "").split(" ")[0]
    wide = unicodedata.east_asian_width(letter) in "WF" and script != "HANGUL"  # Korean sets spaces
    return not wide and script not in _UNSPACED


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
            raise BadInput(f"relation {_shown(name)} is unknown: {_suggest(name, known)}")
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
            raise BadInput(f"relation {_shown(name)} is one wording of a relation: leave the number out")

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
                    f"relations: family {_shown(family)} is unknown: {_suggest(family, self.families())}"
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


def read_answers(path: Path) -> Names:
    """Answer names from a JSON list, a CSV file, or a text file with one name a line.

    Of a CSV file the column headed ``name`` is read, or without such a header the first. Names are
    stripped; blanks and duplicates are dropped; the order is kept. Raises BadInput if the file
    cannot be read or holds no name.
    """
    readers: dict[str, Callable[[Path, str], Iterable[str]]] = {
        ".json": _answers_of_json,
        ".csv": _answers_of_csv,
    }
    path = Path(path)
    read = readers.get(path.suffix.lower(), _answers_of_text)
    names = _tidy(read(path, _text(path)))
    if not names:
        raise BadInput(f"{path}: holds no name: give at least one")
    return names


def read_pairs(path: Path) -> Pairs:
    """(source, target) pairs from JSON, CSV or text.

    JSON: a list of two-name lists, or an object from a name to a name or a list of names. CSV: two
    columns, with or without a header ``source,target``. Text: ``source<TAB>target`` a line. Names
    are stripped and duplicates dropped. Raises BadInput if the file cannot be read or is empty.
    """
    readers: dict[str, Callable[[Path, str], Iterable[tuple[str, str]]]] = {
        ".json": _pairs_of_json,
        ".csv": _pairs_of_csv,
    }
    path = Path(path)
    read = readers.get(path.suffix.lower(), _pairs_of_text)
    pairs = _tidy_pairs(read(path, _text(path)))
    if not pairs:
        raise BadInput(f"{path}: holds no pair: give at least one")
    return pairs


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
        setting.refuse(f"{template.name!r} already stands for {_shown(known.text)}: choose another name")


def _paraphrase(setting: "Setting", read: _Read) -> None:
    """Number a template's further wordings behind those it has; one that it has already is passed over."""
    if setting.name not in read.templates:
        setting.refuse(f"unknown template {_shown(setting.name)}: {_suggest(setting.name, read.templates)}")
    others = read.wordings.setdefault(setting.name, [])
    for text in setting.texts():
        if text.value not in [read.templates[setting.name].text, *(other.text for other in others)]:
            others.append(Template(f"{setting.name}.{len(others) + 2}", _template_text(text)))
            _declare(text, others[-1], read.templates)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in a catalogue file, and where it stands, so that a refusal can say so."""

    path: Path
    key: str
    value: Any

    def refuse(self, problem: str) -> NoReturn:
        """Raise BadInput for this setting."""
        where = f"{self.path}: {self.key}: " if self.key else f"{self.path}: "
        raise BadInput(where + problem)

    def entries(self) -> list["Setting"]:
        """The members of a mapping of names the user chose."""
        if not isinstance(self.value, dict):
            self.refuse(f"{_shown(self.value)} is not a mapping of names: write 'name: ...' lines")
        for name in self.value:
            if not isinstance(name, str):
                self.refuse(f"the name {_shown(name)} is not text: put it in quotes")
            if not _NAME.fullmatch(name):
                self.refuse(
                    f"the name {_shown(name)} cannot be used in file names: "
                    "use letters, digits and single '-', '_' or '.' between them"
                )
        return [self._member(name) for name in self.value]

    def section(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, "Setting"]:
        """The members of a mapping whose keys the schema fixes."""
        if not isinstance(self.value, dict):
            self.refuse(f"{_shown(self.value)} is not a mapping: give {_listed(allowed)}")
        for key in self.value:
            if key not in allowed:
                self.refuse(f"unknown key {_shown(key)}: {_suggest(str(key), allowed)}")
        for key in required:
            if key not in self.value:
                self.refuse(f"the key {key!r} is missing: add '{key}: ...'")
        return {key: self._member(key) for key in self.value}

    def text(self) -> str:
        """The value, which must be text with more than blanks."""
        if not isinstance(self.value, str) or not self.value.strip():
            self.refuse(f"{_shown(self.value)} is not text: write it in quotes")
        return self.value

    def texts(self) -> list["Setting"]:
        """The members of a list."""
        if not isinstance(self.value, list):
            self.refuse(f"{_shown(self.value)} is not a list: write [a, b]")
        return [Setting(self.path, self.key, value) for value in self.value]

    def _member(self, key: str) -> "Setting":
        return Setting(self.path, f"{self.key}.{key}" if self.key else key, self.value[key])

    @property
    def name(self) -> str:
        """The last part of the key."""
        # Names may hold dots, but the keys above them are the schema's and do not.
        return self.key.split(".", 1)[1]


# Names become array names in a store and parts of "source--target".
_NAME = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")


def _template_text(setting: Setting) -> str:
    text = setting.text()
    problem = _slot_problem(text)
    if problem:
        setting.refuse(f"{_shown(text)} {problem}")
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
        given["template"].refuse(f"unknown template {_shown(name)}: {_suggest(name, templates)}")
    return SideSource(templates[name], _answers(given["answers"]))


def _answers(setting: Setting) -> str | Names:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.ANSWERS)
    if isinstance(value, dict):
        return _read(setting, read_answers)
    names = _tidy(_words(value, setting.refuse))
    if not names:
        setting.refuse("[] holds no name: give at least one")
    return names


def _truth(setting: Setting) -> str | Pairs:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.TRUTH)
    if isinstance(value, dict):
        return _read(setting, read_pairs)
    pairs = _tidy_pairs(_couples(value, setting.refuse))
    if not pairs:
        setting.refuse("[] holds no pair: give at least one, or leave truth out")
    return pairs


def _table(setting: Setting, tables: Mapping[str, object]) -> str:
    name = setting.text()
    if name not in tables:
        setting.refuse(
            f"unknown table {_shown(name)}: {_suggest(name, tables)} "
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
    text = _text(path)
    try:
        return load_strict(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadInput(f"{path}: {where}not valid YAML: {_one_line(error.problem)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not valid YAML: {_one_line(error)}") from None


def _text(path: Path) -> str:
    """The file's text, line ends as ``\\n``."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8: "
            "save the file with the encoding UTF-8"
        ) from None
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path}: cannot be read: {_one_line(reason)}") from None


# Lists and pairs


def _answers_of_json(path: Path, text: str) -> Iterable[str]:
    return _words(_json(path, text), Setting(path, "", None).refuse)


def _answers_of_csv(path: Path, text: str) -> Iterable[str]:
    rows = [row for _, row in _csv(path, text)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "name" not in header:
        return [row[0] for row in rows]
    column = header.index("name")
    return [row[column] for row in rows[1:] if len(row) > column]


def _answers_of_text(path: Path, text: str) -> Iterable[str]:
    return text.split("\n")


def _pairs_of_json(path: Path, text: str) -> Iterable[tuple[str, str]]:
    value = _json(path, text)
    refuse = Setting(path, "", None).refuse
    if not isinstance(value, dict):
        return _couples(value, refuse)
    return [
        (source, target)
        for source, targets in value.items()
        for target in _words([targets] if isinstance(targets, str) else targets, refuse)
    ]


def _pairs_of_csv(path: Path, text: str) -> Iterable[tuple[str, str]]:
    for line, row in _csv(path, text):
        if len(row) != 2:
            raise BadInput(f"{path}: line {line}: {_shown(row)} is not two columns: give two names")
        if line > 1 or [cell.strip().lower() for cell in row] != ["source", "target"]:
            yield row[0], row[1]


def _pairs_of_text(path: Path, text: str) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split("\t")
        if len(cells) == 2:
            yield cells[0], cells[1]
        elif line.strip():
            raise BadInput(f"{path}: line {number}: {_shown(line)} is not two names: put one tab")


def _json(path: Path, text: str) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if found.setdefault(key, value) != value:
                raise BadInput(f"{path}: {_shown(key)} is given twice: write one list of names")
        return found

    try:
        return json.loads(text, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadInput(f"{path}: {where}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise BadInput(f"{path}: not valid JSON: nested too deep") from None


def _csv(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num}: not valid CSV: {_one_line(error)}") from None


def _words(value: Any, refuse: Callable[[str], NoReturn]) -> list[str]:
    if not isinstance(value, list):
        refuse(f"{_shown(value)} is not a list of names: write [a, b]")
    for item in value:
        if not isinstance(item, str):
            refuse(f"the name {_shown(item)} is not text: put it in quotes")
    return value


def _couples(value: Any, refuse: Callable[[str], NoReturn]) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        refuse(f"{_shown(value)} is not a list of pairs: write [[a, b], [c, d]]")
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            refuse(f"{_shown(item)} is not a pair of names: write [a, b]")
        _words(item, refuse)
    return [(source, target) for source, target in value]


def _tidy(names: Iterable[str]) -> Names:
    stripped = (name.strip() for name in names)
    return tuple(dict.fromkeys(name for name in stripped if name))


def _tidy_pairs(pairs: Iterable[tuple[str, str]]) -> Pairs:
    stripped = ((source.strip(), target.strip()) for source, target in pairs)
    return tuple(dict.fromkeys(pair for pair in stripped if all(pair)))


# Words for refusals


def _slot_problem(text: str) -> str | None:
    """What is wrong with a template's slots, and the mend; None if nothing is."""
    named = re.search(r"\{[^{}]+\}", text)
    if named:
        return f"has the named slot {_shown(named[0])}: write {SLOT} in its place"
    slots = text.count(SLOT)
    if slots == 0:
        return f"has no slot: put {SLOT} where the subject goes"
    if slots > 1:
        return f"has {slots} slots: keep one {SLOT}"
    if "{" in text.replace(SLOT, "") or "}" in text.replace(SLOT, ""):
        return f"has a brace besides the slot {SLOT}: take it out"
    return None


_MOST_LISTED = 12  # a refusal is one line


def _suggest(value: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(value, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {_listed(near, 'or')}?"
    if len(names) > _MOST_LISTED:
        return f"give one of {_listed(names[:_MOST_LISTED], 'or')}, or of {len(names) - _MOST_LISTED} more"
    return f"give one of {_listed(names, 'or')}"


def _listed(names: Sequence[str], last: str = "and") -> str:
    quoted = [repr(name) for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _shown(value: object) -> str:
    """The value as one short line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
