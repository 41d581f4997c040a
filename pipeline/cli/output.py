"""Output that commands share: the flag --json, JSON on standard output, and the look of tables."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]


def print_json(value: Any) -> None:
    """Print dataclasses or JSON values as JSON; NaN and infinity become null."""
    from lincorr.scores.documents import to_json

    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))


def plain_table(title: str | None, words: Iterable[str] = (), figures: Iterable[str] = ()) -> Table:
    """Return an empty table with a line under its heads only.

    Args:
        words: heads of the columns of text, which come first.
        figures: heads of the columns of figures, aligned right.
    """
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in words:
        table.add_column(heading, no_wrap=True)
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure for a table; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given, so that the others keep their defaults."""
    return {name: value for name, value in options.items() if value is not None}
