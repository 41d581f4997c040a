"""Read lists of answers and pairs from text, CSV, JSON and YAML files."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from lincorr.errors import BadInput
from lincorr.relations.relation import Names, Pairs, one_line, shown
from lincorr.relations.settings import Setting


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
    names = tidy(read(path, read_text(path)))
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
    pairs = tidy_pairs(read(path, read_text(path)))
    if not pairs:
        raise BadInput(f"{path}: holds no pair: give at least one")
    return pairs


def read_text(path: Path) -> str:
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
        raise BadInput(f"{path}: cannot be read: {one_line(reason)}") from None


# Lists and pairs


def _answers_of_json(path: Path, text: str) -> Iterable[str]:
    return words(_json(path, text), Setting(path, "", None).refuse)


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
        return couples(value, refuse)
    return [
        (source, target)
        for source, targets in value.items()
        for target in words([targets] if isinstance(targets, str) else targets, refuse)
    ]


def _pairs_of_csv(path: Path, text: str) -> Iterable[tuple[str, str]]:
    for line, row in _csv(path, text):
        if len(row) != 2:
            raise BadInput(f"{path}: line {line}: {shown(row)} is not two columns: give two names")
        if line > 1 or [cell.strip().lower() for cell in row] != ["source", "target"]:
            yield row[0], row[1]


def _pairs_of_text(path: Path, text: str) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split("\t")
        if len(cells) == 2:
            yield cells[0], cells[1]
        elif line.strip():
            raise BadInput(f"{path}: line {number}: {shown(line)} is not two names: put one tab")


def _json(path: Path, text: str) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if found.setdefault(key, value) != value:
                raise BadInput(f"{path}: {shown(key)} is given twice: write one list of names")
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
        raise BadInput(f"{path}: line {reader.line_num}: not valid CSV: {one_line(error)}") from None


def words(value: Any, refuse: Callable[[str], NoReturn]) -> list[str]:
    if not isinstance(value, list):
        refuse(f"{shown(value)} is not a list of names: write [a, b]")
    for item in value:
        if not isinstance(item, str):
            refuse(f"the name {shown(item)} is not text: put it in quotes")
    return value


def couples(value: Any, refuse: Callable[[str], NoReturn]) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        refuse(f"{shown(value)} is not a list of pairs: write [[a, b], [c, d]]")
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            refuse(f"{shown(item)} is not a pair of names: write [a, b]")
        words(item, refuse)
    return [(source, target) for source, target in value]


def tidy(names: Iterable[str]) -> Names:
    stripped = (name.strip() for name in names)
    return tuple(dict.fromkeys(name for name in stripped if name))


def tidy_pairs(pairs: Iterable[tuple[str, str]]) -> Pairs:
    stripped = ((source.strip(), target.strip()) for source, target in pairs)
    return tuple(dict.fromkeys(pair for pair in stripped if all(pair)))
