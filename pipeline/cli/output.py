"""What verbs share: the flag --json, and JSON on standard output."""

import json
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]


def print_json(value: Any) -> None:
    """Print a JSON value; what is no finite number becomes null."""
    from lincorr.strict import finite

    print(json.dumps(finite(value), indent=2, ensure_ascii=False))


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure for a table; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given, so that the others keep their defaults."""
    return {name: value for name, value in options.items() if value is not None}
