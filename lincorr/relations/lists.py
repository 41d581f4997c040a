"""Lists of answers and of pairs, as a catalogue file or a file of their own gives them."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from lincorr.errors import BadInput
from lincorr.relations.files import read_csv, read_json
from lincorr.relations.messages import short
from lincorr.relations.relation import Names, Pairs
from lincorr.relations.settings import Setting
from lincorr.text import read_lines, same_form, text_problem

Refuse = Callable[[str], NoReturn]

_PAIRS = ["source", "target"]  # the header of a CSV file of pairs


def read_answers(path: Path, side: str = "source") -> Names:
    """Read answer names from a JSON list, a CSV file, or a text file with one name a line.

    Of a CSV file the column headed ``name`` is read; of one of pairs, headed ``source,target``, that of the
    side; else the first one. Names are stripped and in Unicode's form NFC; blank ones and duplicates are
    dropped; the order is that of the file.

    Args:
        side: source or target, which the names answer.

    Raises:
        BadInput: the file cannot be read or has no name.
    """
    readers: dict[str, Callable[[Path], Iterable[str]]] = {
        ".json": _answers_of_json,
        ".csv": partial(_answers_of_csv, side=side),
    }
    path = Path(path)
    names = distinct_names(readers.get(path.suffix.lower(), read_lines)(path))
    if not names:
        raise BadInput(f"{path}: holds no name: give at least one")
    require_writable(names, Setting(path, "", None).refuse)
    return names


def read_pairs(path: Path) -> Pairs:
    """Read (source, target) pairs from JSON, CSV or text.

    JSON: a list of two-name lists, or an object from a name to a name or a list of names. CSV: two
    columns, with or without a header ``source,target``. Text: ``source<TAB>target`` a line. Names
    are stripped and duplicates dropped.

    Raises:
        BadInput: the file cannot be read or has no pair.
    """
    readers: dict[str, Callable[[Path], Iterable[tuple[str, str]]]] = {
        ".json": _pairs_of_json,
        ".csv": _pairs_of_csv,
    }
    path = Path(path)
    pairs = distinct_pairs(readers.get(path.suffix.lower(), _pairs_of_text)(path))
    if not pairs:
        raise BadInput(f"{path}: holds no pair: give at least one")
    require_writable((name for pair in pairs for name in pair), Setting(path, "", None).refuse)
    return pairs


def require_names(value: Any, refuse: Refuse) -> list[str]:
    """Return a value of YAML or JSON that is a list of names; call `refuse` with a message if it is not."""
    if not isinstance(value, list):
        refuse(f"{short(value)} is not a list of names: write [a, b]")
    for item in value:
        if not isinstance(item, str):
            refuse(f"the name {short(item)} is not text: put it in quotes")
    return value


def require_pairs(value: Any, refuse: Refuse) -> list[tuple[str, str]]:
    """Return a value of YAML or JSON that is a list of pairs; call `refuse` with a message if it is not."""
    if not isinstance(value, list):
        refuse(f"{short(value)} is not a list of pairs: write [[a, b], [c, d]]")
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            refuse(f"{short(item)} is not a pair of names: write [a, b]")
        require_names(item, refuse)
    return [(source, target) for source, target in value]


def require_writable(names: Iterable[str], refuse: Refuse) -> None:
    """Call `refuse` with a message on the first name that cannot be asked and stored."""
    for name in names:
        if problem := text_problem(name):
            refuse(f"the name {short(name)} {problem}")


def distinct_names(names: Iterable[str]) -> Names:
    """The names in order, stripped, in one Unicode form, each once; blank ones are dropped."""
    stripped = (same_form(name.strip()) for name in names)
    return tuple(dict.fromkeys(name for name in stripped if name))


def distinct_pairs(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The pairs in order, their names as `distinct_names` has them, each once; none with a blank name."""
    stripped = ((same_form(source.strip()), same_form(target.strip())) for source, target in pairs)
    return tuple(dict.fromkeys(pair for pair in stripped if all(pair)))


def _answers_of_json(path: Path) -> Iterable[str]:
    return require_names(read_json(path), Setting(path, "", None).refuse)


def _answers_of_csv(path: Path, side: str) -> Iterable[str]:
    rows = [row for _, row in read_csv(path)]
    header = _header(rows[0]) if rows else []
    if "name" not in header and header != _PAIRS:
        return [row[0] for row in rows]
    column = header.index(side if header == _PAIRS else "name")
    return [row[column] for row in rows[1:] if len(row) > column]


def _header(row: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in row]


def _pairs_of_json(path: Path) -> Iterable[tuple[str, str]]:
    value = read_json(path)
    refuse = Setting(path, "", None).refuse
    if not isinstance(value, dict):
        return require_pairs(value, refuse)
    return [
        (source, target)
        for source, targets in value.items()
        for target in require_names([targets] if isinstance(targets, str) else targets, refuse)
    ]


def _pairs_of_csv(path: Path) -> Iterable[tuple[str, str]]:
    for place, (line, row) in enumerate(read_csv(path)):
        if len(row) != 2:
            raise BadInput(f"{path}: line {line}: {short(row)} is not two columns: give two names")
        if place or _header(row) != _PAIRS:
            yield row[0], row[1]


def _pairs_of_text(path: Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split("\t")
        if len(cells) == 2:
            yield cells[0], cells[1]
        elif line.strip():
            raise BadInput(f"{path}: line {number}: {short(line)} is not two names: put one tab")
