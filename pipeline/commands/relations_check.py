"""`lincorr relations check`: what a model's vocabulary can tell of each relation's answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.coverage import RelationCoverage, SideCoverage


def relations_check(
    model: Annotated[
        str,
        typer.Option(help="Hub id, local folder, .gguf file, or package:name/file.gguf; no weight is read."),
    ],
    relations: Annotated[
        str, typer.Option(help="Names, all, family:NAME, or NAME.* for one in every wording.")
    ] = "all",
    catalogue: Annotated[list[Path] | None, typer.Option(help="YAML file of your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check slots, lists and truth, and count the answers that a model's vocabulary can tell."""
    from pipeline.config import load_config
    from pipeline.console import Narrator
    from pipeline.coverage import coverage

    values = {"model.source": model, "relations": relations}
    if catalogue:
        values["catalogue"] = json.dumps([str(path) for path in catalogue])
    rows = coverage(load_config(None, values), Narrator(quiet=as_json).tell)
    if as_json:
        print(json.dumps([row.as_document() for row in rows], indent=2, ensure_ascii=False))
    else:
        _print(rows)


def _print(rows: "list[RelationCoverage]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title = "Answers in the model's vocabulary"
    table.add_column("relation", no_wrap=True)
    for heading in ("source whole", "phrase", "subword", "target whole", "phrase", "subword", "known"):
        table.add_column(heading, justify="right")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(
            row.name + ("" if row.fits else " (!)"),
            *_cells(row.source),
            *_cells(row.target),
            "–" if row.truth is None else f"{row.truth:,}",
            end_section=following is not None and following.family != row.family,
        )
    notes = [
        "whole: the answer is one token; phrase: its first word is; subword: neither, and it has no column",
        "known: sources with a known target, both whole",
    ]
    if not all(row.fits for row in rows):
        notes.append("(!) no answer of one side is in the vocabulary: this model cannot be asked")
    table.caption = "\n".join(notes)
    Console().print(table)


def _cells(side: "SideCoverage") -> tuple[str, str, str]:
    return f"{side.whole:,}", f"{side.phrase:,}", f"{side.subword:,}"
