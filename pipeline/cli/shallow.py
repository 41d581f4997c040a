"""`lincorr shallow`: a bag-of-words network on the pretrained vocabulary; does it generalise?"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, given, plain_table, print_json
from pipeline.cli.settings import job


@with_settings
def shallow(
    config: Path | None,
    overrides: dict[str, str],
    *,
    taught: Annotated[
        int | None,
        typer.Option("--taught", help="Subjects with source and target prompts. Default: 256.", min=3),
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option("--held-out", help="Subjects whose target is asked. Default: 128.", min=3),
    ] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", help="Networks of each mapping. Default: 5.", min=1)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the first. Default: 0.", min=0)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train bag-of-words networks on the model's embeddings and head; do they generalise?"""
    from pipeline.experiments.shallow import ShallowOptions
    from pipeline.experiments.shallow import shallow as train_all

    options = ShallowOptions(**given(taught=taught, held_out=held_out, runs=runs, seed=seed))
    document = train_all(job(config, overrides, as_json), options)
    if as_json:
        print_json(document)
    else:
        _print_table(document)


def _print_table(document: dict[str, Any]) -> None:
    options = document["options"]
    table = plain_table(f"Held-out subjects whose target answer follows, {options['runs']} networks each")
    for heading in ("relation", "mapping", "words"):
        table.add_column(heading)
    for heading in ("learnt", "follows", "of three", "paper"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in document["mappings"]:
        words = f"{', '.join(row['sources'])} → {', '.join(row['targets'])}"
        scores = (row[name] for name in ("success", "of_three"))
        table.add_row(
            *map(Text, (row["relation"], row["mapping"], words)),
            figure(row["learnt"]["mean"], 2),
            *(f"{figure(score['mean'])} ± {figure(score['std'])}" for score in scores),
            figure(row["paper"]),
        )
    table.caption = (
        f"{options['taught']:,} subjects with both prompts, {options['held_out']:,} with the source prompt "
        "only. learnt: trained prompts answered right. follows: the right target leads all tokens that "
        "compete; of three: the mapping's three targets (by chance 0.333)"
    )
    Console().print(table)
