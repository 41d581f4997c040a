"""Output of all commands: the flag --json, JSON on standard output, lines, and the look of tables.

Words of others (tokens, templates, names, paths) are shown with their control characters escaped.
"""

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lincorr.visible import visible

_LEAST_WIDTH = 80  # columns that every table of figures fits into

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]


def print_json(value: Any) -> None:
    """Print dataclasses or JSON values as JSON; NaN and infinity become null."""
    from lincorr.scores.documents import to_json

    text = json.dumps(to_json(value), indent=2, ensure_ascii=False)
    if visible(text) != text or not can_show(text):
        text = json.dumps(to_json(value), indent=2)
    print(text)


def can_show(text: str) -> bool:
    """Whether standard output can encode a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def say(text: str, *, wrap: bool = False) -> None:
    """Print lines on standard output.

    Args:
        wrap: break them between words, at the terminal's width.
    """
    Console().print(visible(text), soft_wrap=not wrap, markup=False, highlight=False)


def show_table(table: Table) -> None:
    """Print a table on standard output; a terminal too narrow for its figures breaks its lines."""
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(table)


class _Table(Table):
    """A table whose cells are plain text: no markup, no control characters."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*map(_plain, cells), **options)


def _plain(cell: RenderableType | None) -> RenderableType | None:
    if isinstance(cell, Text):
        return Text(visible(cell.plain), style=cell.style)
    return Text(visible(cell)) if isinstance(cell, str) else cell


def fact_table(title: str) -> Table:
    """Return an empty table of two columns, names and what they stand for; nothing of either is cut off."""
    table = _Table(title=Text(visible(title), "table.title"), box=HEAVY_HEAD, show_header=False)
    for _ in range(2):
        table.add_column(overflow="fold")
    return table


def plain_table(title: str | None, words: Iterable[str] = (), figures: Iterable[str] = ()) -> Table:
    """Return an empty table with a line under its heads only.

    Args:
        words: heads of the columns of text, which come first; they are broken where figures need the room.
        figures: heads of the columns of figures, aligned right.
    """
    heading = None if title is None else Text(visible(title), "table.title")
    table = _Table(
        title=heading, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, caption_justify="left"
    )
    for name in words:
        table.add_column(name, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def cut_names(table: Table, width: int | None = None) -> None:
    """Cut names in a table's first column off, and break none: at a width, or where figures need the room."""
    names = table.columns[0]
    names.overflow, names.no_wrap, names.max_width = "ellipsis", True, width


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure for a table, without a negative zero; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:z.{digits}f}"


def spread(mean: float | None, std: float | None, digits: int = 3) -> str:
    """Return a mean and the standard deviation around it for a table; a mean of one has none."""
    deviation = figure(std, digits)
    return figure(mean, digits) + ("" if deviation == figure(None) else f" ± {deviation}")


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return both ends of an interval for a table; a dash where there is none."""
    ends = figure(low, digits), figure(high, digits)
    return ends[0] if ends[0] == figure(None) else "–".join(ends)


def brief_share(value: float | None) -> str:
    """Return a share in three characters for a narrow table."""
    text = figure(value, 2)
    return "1.0" if text == "1.00" else text.removeprefix("0")


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given, so that the others keep their defaults."""
    return {name: value for name, value in options.items() if value is not None}
