"""Reading the user's CSV, JSON and YAML files: what cannot be read is refused in one line."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lincorr.errors import BadInput
from lincorr.relations.messages import one_line, short
from lincorr.strict import load_strict
from lincorr.text import read_text


def read_yaml(path: Path) -> Any:
    """Return the value of a YAML file.

    Raises:
        BadInput: it cannot be read, is not valid YAML, or gives a key two values.
    """
    text = read_text(path)
    try:
        return load_strict(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadInput(f"{path}: {where}not valid YAML: {one_line(error.problem)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not valid YAML: {one_line(error)}") from None


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        BadInput: it cannot be read, is not valid JSON, or gives a key two values.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if found.setdefault(key, value) != value:
                raise BadInput(f"{path}: {short(key)} is given twice: write one list of names")
        return found

    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadInput(f"{path}: {where}: not valid JSON: {error.msg}") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise BadInput(f"{path}: not valid JSON: {one_line(error)}") from None
    except RecursionError:
        raise BadInput(f"{path}: not valid JSON: nested too deep") from None


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not blank, each with the number of its last line.

    Raises:
        BadInput: it cannot be read, is not valid CSV, or has semicolons, as some spreadsheets write them.
    """
    text = read_text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and not set(',"') & set(text) and all(";" in line for line in lines):
        raise BadInput(f"{path}: its columns are separated by semicolons: save it with commas")
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num}: not valid CSV: {one_line(error)}") from None
