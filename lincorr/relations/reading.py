"""Reading catalogue files: templates and relations as they are declared, no table loaded.

The relations that ship and those of a user are YAML files of one schema::

    templates:
      city: "{} lives in the city of"
    paraphrases:
      city: ["{} has a home in the city of"]
    relations:
      city-country:
        family: attribute
        source: {template: city, answers: cities}
        target: {template: country, answers: {file: countries.csv}}
        truth: city-country
        asked: ["The city of {} is in the country of"]

``answers`` is the name of a table in `lincorr.relations.tables`, ``{file: PATH}`` (PATH is relative to the
YAML file), or a list of words. ``truth`` is the same with pairs in place of words, and may be left out.
``asked`` are prompts about a source answer, which a target answers; they may be left out, and need a truth.
``paraphrases`` has further wordings of a template, named ``city.2``, ``city.3``. Every refusal is one line:
the file, the setting, its value, and what to do about it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from lincorr.errors import BadInput
from lincorr.paths import as_meant
from lincorr.relations import tables
from lincorr.relations.files import read_yaml
from lincorr.relations.lists import (
    distinct_names,
    distinct_pairs,
    read_answers,
    read_pairs,
    require_names,
    require_pairs,
    require_writable,
)
from lincorr.relations.messages import short, suggestion
from lincorr.relations.relation import ALL, Names, Pairs, Template, first_wording, slot_problem
from lincorr.relations.settings import Setting

SHIPPED = Path(__file__).parent / "shipped"
# In the order in which they are listed; a later one may use an earlier one's templates.
_SHIPPED_FILES = ("attributes", "further", "languages", "similes", "arithmetic")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class DeclaredSide:
    """A side before its answers are loaded: the name of their table, or the names themselves."""

    template: Template
    answers: str | Names


@dataclass(frozen=True, slots=True)
class DeclaredRelation:
    """A relation before its tables are loaded; enough to list it. `truth` is a table's name, or the pairs."""

    name: str
    family: str
    source: DeclaredSide
    target: DeclaredSide
    truth: str | Pairs
    asked: Names


@dataclass(frozen=True, slots=True)
class Declarations:
    """What the files read so far declare.

    Attributes:
        templates: by name, further wordings among them.
        wordings: template name -> its further wordings, in order.
        relations: by name, in their first wording.
    """

    templates: dict[str, Template]
    wordings: dict[str, list[Template]]
    relations: dict[str, DeclaredRelation]


def read_declarations(paths: list[Path]) -> Declarations:
    """Read the shipped catalogue, then the user's files, which may use its templates.

    Lists of answers and pairs that the user's files name are read as well.

    Raises:
        BadInput: a file cannot be read or is wrong, or declares a known name with another meaning.
    """
    shipped = _shipped()
    wordings = {name: list(others) for name, others in shipped.wordings.items()}
    declared = Declarations(dict(shipped.templates), wordings, dict(shipped.relations))
    for path in paths:
        _read_file(path, declared)
    return declared


@cache
def _shipped() -> Declarations:
    declared = Declarations({}, {}, {})
    for name in _SHIPPED_FILES:
        _read_file(SHIPPED / f"{name}.yaml", declared)
    return declared


def _read_file(path: Path, declared: Declarations) -> None:
    """Add one file's templates, paraphrases and relations to those read before it."""
    root = Setting(path, "", read_yaml(path)).section(("templates", "paraphrases", "relations"))
    for setting in root.get("templates", Setting(path, "templates", {})).entries():
        _refuse_twin(setting, declared.templates)
        _add_template(setting, Template(setting.name, _template_text(setting)), declared.templates)
    for setting in root.get("paraphrases", Setting(path, "paraphrases", {})).entries():
        _add_wordings(setting, declared)
    for setting in root.get("relations", Setting(path, "relations", {})).entries():
        _refuse_twin(setting, declared.relations)
        relation = _relation(setting, declared.templates)
        if declared.relations.setdefault(relation.name, relation) != relation:
            setting.refuse(f"{relation.name!r} is already another relation: choose another name")


def _refuse_twin(setting: Setting, names: Iterable[str]) -> None:
    """Refuse a name that is another but for capitals: both would be one folder on many a Mac and Windows."""
    name = setting.name
    if twin := next((other for other in names if other != name and other.lower() == name.lower()), None):
        setting.refuse(f"{name!r} differs from {twin!r} in capitals only: choose another name")


def _add_template(setting: Setting, template: Template, templates: dict[str, Template]) -> None:
    known = templates.setdefault(template.name, template)
    if known != template:
        setting.refuse(f"{template.name!r} already stands for {short(known.text)}: choose another name")


def _add_wordings(setting: Setting, declared: Declarations) -> None:
    """Number a template's further wordings after those it has; a wording that it has already is skipped."""
    name, templates = setting.name, declared.templates
    if name not in templates:
        setting.refuse(f"unknown template {short(name)}: {suggestion(name, templates)}")
    others = declared.wordings.setdefault(name, [])
    for text in setting.texts():
        if text.value not in [templates[name].text, *(other.text for other in others)]:
            others.append(Template(f"{name}.{len(others) + 2}", _template_text(text)))
            _add_template(text, others[-1], templates)


def _template_text(setting: Setting) -> str:
    text = setting.text()
    problem = slot_problem(text)
    if problem:
        setting.refuse(f"{short(text)} {problem}")
    return text


def _relation(setting: Setting, templates: Mapping[str, Template]) -> DeclaredRelation:
    if setting.name == ALL:
        setting.refuse(f"{ALL!r} means every relation: choose another name")
    if setting.name != first_wording(setting.name):
        setting.refuse(f"{setting.name!r} ends in a number, as wordings do: choose another name")
    given = setting.section(("family", "source", "target", "truth", "asked"), ("source", "target"))
    if "asked" in given and "truth" not in given:
        given["asked"].refuse("without a truth nothing tells a right answer: add truth, or leave asked out")
    target = _side(given["target"], templates, "target")
    return DeclaredRelation(
        name=setting.name,
        family=given["family"].text() if "family" in given else "custom",
        source=_side(given["source"], templates, "source"),
        target=target,
        truth=_truth(given["truth"]) if "truth" in given else (),
        asked=_asked(given["asked"], target.template) if "asked" in given else (),
    )


def _asked(setting: Setting, target: Template) -> Names:
    """The prompts about a source answer; their answers are set off as those to the target's template are."""
    texts = setting.texts()
    for text in texts:
        if Template(target.name, _template_text(text)).gap != target.gap:
            expected = "a space" if target.gap else "no space"
            text.refuse(
                f"after {short(text.value)} an answer would be set off otherwise than after "
                f"{short(target.text)}, by {expected}: let it end alike"
            )
    return tuple(dict.fromkeys(text.value for text in texts))


def _side(setting: Setting, templates: Mapping[str, Template], side: str) -> DeclaredSide:
    given = setting.section(("template", "answers"), ("template", "answers"))
    name = given["template"].text()
    if name not in templates:
        given["template"].refuse(f"unknown template {short(name)}: {suggestion(name, templates)}")
    return DeclaredSide(templates[name], _answers(given["answers"], side))


def _answers(setting: Setting, side: str) -> str | Names:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.ANSWERS)
    if isinstance(value, dict):
        return _read_list(setting, partial(read_answers, side=side))
    names = distinct_names(require_names(value, setting.refuse))
    if not names:
        setting.refuse("[] holds no name: give at least one")
    require_writable(names, setting.refuse)
    return names


def _truth(setting: Setting) -> str | Pairs:
    value = setting.value
    if isinstance(value, str):
        return _table(setting, tables.TRUTH)
    if isinstance(value, dict):
        return _read_list(setting, read_pairs)
    pairs = distinct_pairs(require_pairs(value, setting.refuse))
    if not pairs:
        setting.refuse("[] holds no pair: give at least one, or leave truth out")
    require_writable((name for pair in pairs for name in pair), setting.refuse)
    return pairs


def _table(setting: Setting, known: Mapping[str, object]) -> str:
    name = setting.text()
    if name not in known:
        setting.refuse(
            f"unknown table {short(name)}: {suggestion(name, known)} "
            "(for a list of your own write {file: PATH})"
        )
    return name


def _read_list(setting: Setting, read: Callable[[Path], tuple[Item, ...]]) -> tuple[Item, ...]:
    """The list in the file that the setting names; a refusal names the setting as well."""
    file = setting.section(("file",), ("file",))["file"].text()
    try:
        return read(setting.path.parent / as_meant(file, "file"))
    except BadInput as error:
        setting.refuse(str(error))
