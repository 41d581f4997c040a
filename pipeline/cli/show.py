"""`lincorr show`: the strongest targets of a source word, or the strongest sources of a target word."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, print_json
from pipeline.cli.settings import settings_of

MapName = Annotated[
    str | None,
    typer.Option("--map", help="domain, domain-ridge, vocabulary, vocabulary-ridge. Default: the last kept."),
]
AllSources = Annotated[
    bool,
    typer.Option("--all-sources", help="Sources are every token of the vocabulary, not only the answers."),
]


@with_settings
def show(
    config: Path | None,
    overrides: dict[str, str],
    word: Annotated[str, typer.Argument(help="The word to look up, such as Tokyo.")],
    *,
    target: Annotated[
        bool, typer.Option("--target", help="The word is a target: show its strongest sources.")
    ] = False,
    all_sources: AllSources = False,
    map_name: MapName = None,
    top: Annotated[int, typer.Option("--top", help="How many to show.", min=1)] = 5,
    as_json: JsonFlag = False,
) -> None:
    """Show the strongest targets of a source word, or the strongest sources of a target word.

    In the relations that have the word among their answers; where none has, in all that have its token.
    """
    from pipeline.evaluate.show import show_word

    settings = settings_of(config, overrides)
    found = show_word(settings, word, target=target, map_name=map_name, top=top, all_sources=all_sources)
    if as_json:
        print_json(found)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for relation in found:
        print(f"{relation['relation']}, {relation['map']}: {relation['word']!r}")
        if relation["note"]:
            print(relation["note"])
        if target:
            print(f"of {relation['of']:,} sources: {relation['among']}")
        table = Table(box=SIMPLE_HEAD)
        table.add_column("source" if target else "target")
        table.add_column("weight", justify="right")
        for link in relation["links"]:
            mark = " ✓" if link["right"] else ""
            table.add_row(Text(repr(link["token"]) + mark), f"{link['weight']:+.3g}")
        Console().print(table)
