"""`lincorr show`: the strongest targets of a source word, or the strongest sources of a target word."""

from pathlib import Path
from typing import Annotated

import typer

from lincorr.errors import BadInput
from pipeline.cli.bars import bars
from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, plain_table, print_json, say, show_table
from pipeline.cli.settings import settings_of

MapName = Annotated[
    str | None,
    typer.Option(
        "--map", help="domain, domain-ridge, vocabulary, vocabulary-ridge. Default: the last stored."
    ),
]
AllSources = Annotated[
    bool,
    typer.Option("--all-sources", help="Sources are every token of the vocabulary, not only the answers."),
]


@with_settings
def show(
    config: str | None,
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

    if not word:
        raise BadInput("word: it is empty; give one, such as Tokyo")
    if config is None and not overrides and Path(word).exists():
        raise BadInput(f"word: it is missing; give one before {word!r}, such as Tokyo")
    settings = settings_of(config, overrides)
    found = show_word(settings, word, target=target, map_name=map_name, top=top, all_sources=all_sources)
    if as_json:
        print_json(found)
        return
    for one in found:
        say(f"{one.relation}, {one.map}: {one.word!r}")
        if one.note:
            say(one.note)
        if target:
            say(f"of {one.of:,} sources: {one.among}")
        table = plain_table(None, ["source" if target else "target"], ["weight"])
        table.add_column()
        for link, bar in zip(one.links, bars([link.weight for link in one.links]), strict=True):
            table.add_row(repr(link.token) + (" ✓" if link.right else ""), f"{link.weight:+.3g}", bar)
        show_table(table)
