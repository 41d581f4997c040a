"""`lincorr relations`: the catalogue, and how many answers a model's vocabulary has."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lincorr.paths import as_meant
from pipeline.cli.output import JsonFlag, plain_table, print_json, show_table

if TYPE_CHECKING:
    from pipeline.prepare.coverage import RelationCoverage, SideCoverage

Catalogues = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH,...", help="YAML files of your own."),
]


def relations_check(
    model: Annotated[
        str,
        typer.Option(help="Hub id, local folder, .gguf file, or package:name/file.gguf; no weight is read."),
    ],
    relations: Annotated[
        str, typer.Option(help="Names, all, family:NAME, or NAME.* for one in every wording.")
    ] = "all",
    catalogue: Catalogues = None,
    multi_token: Annotated[
        bool, typer.Option("--multi-token", help="Answers of several tokens count, too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check slots, lists and truth, and count the answers that a model's vocabulary has."""
    from pipeline.config import load_config
    from pipeline.prepare.coverage import coverage
    from pipeline.runtime.console import Narrator

    values = {"model.source": model, "relations": relations, "multi_token": str(multi_token)}
    if catalogue:
        values["catalogue"] = json.dumps(_paths(catalogue))
    rows = coverage(load_config(None, values), Narrator(quiet=as_json).tell)
    if as_json:
        print_json([row.as_document() for row in rows])
    else:
        _print(rows, multi_token=multi_token)


def _print(rows: "list[RelationCoverage]", *, multi_token: bool) -> None:
    table = plain_table("Answers in the model's vocabulary", ["relation"])
    for heading in ("source\nwhole", "phrase", "subword", "target\nwhole", "phrase", "subword", "known"):
        table.add_column(heading, justify="right")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(
            row.name + ("" if row.fits else " (!)"),
            *_cells(row.source),
            *_cells(row.target),
            "–" if row.truth is None else f"{row.truth:,}",
            end_section=following is not None and following.family != row.family,
        )
    own = "a column only if no other answer begins with its first token" if multi_token else "no column"
    counted = "both whole or with a first token of their own" if multi_token else "both whole"
    notes = [
        f"whole: the answer is one token; phrase: its first word is; subword: neither, and it has {own}",
        f"known: sources with a known target, {counted}",
    ]
    if not all(row.fits for row in rows):
        notes.append("(!) no answer of one side is in the vocabulary: this model cannot be asked")
    table.caption = "\n".join(notes)
    show_table(table)


def _cells(side: "SideCoverage") -> tuple[str, str, str]:
    return f"{side.whole:,}", f"{side.phrase:,}", f"{side.subword:,}"


def _paths(catalogue: list[str] | None) -> list[str]:
    """Every path of a flag that may be repeated, and may name several with commas, as in other verbs."""
    from pipeline.config.sections import words

    return [path for some in catalogue or [] for path in words(some)]


def relations_list(
    catalogue: Catalogues = None,
    as_json: JsonFlag = False,
) -> None:
    """List the relations that can be fitted."""
    from lincorr.relations.catalogue import load_catalogue

    known = load_catalogue([Path(as_meant(path, "--catalogue")) for path in _paths(catalogue)])
    rows = [known.describe(name) for name in known.names()]
    if as_json:
        print_json(
            [
                {
                    "name": r.name,
                    "family": r.family,
                    "source": r.source.template.text,
                    "target": r.target.template.text,
                    "wordings": known.n_wordings(r.name),
                }
                for r in rows
            ]
        )
        return
    table = plain_table(None, ["relation"], ["wordings"])
    for heading in ("source template", "target template"):
        table.add_column(heading)
    for family in known.families():
        table.add_row(Text(family, style="bold"))
        for r in rows:
            if r.family == family:
                cells = (
                    r.name,
                    f"{known.n_wordings(r.name)}",
                    r.source.template.text,
                    r.target.template.text,
                )
                table.add_row(*cells)
        table.add_section()
    show_table(table)
