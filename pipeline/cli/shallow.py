"""`lincorr shallow`: a bag-of-words network on the pretrained vocabulary; does it generalise?"""

from typing import Annotated

import typer

from lincorr.scores.documents import to_document
from lincorr.scores.experiments import ShallowResults
from pipeline.cli.flags import LARGEST_SEED, with_settings
from pipeline.cli.output import JsonFlag, figure, given, plain_table, print_json, show_table, spread
from pipeline.cli.settings import job


@with_settings
def shallow(
    config: str | None,
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
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the first. Default: 0.", min=0, max=LARGEST_SEED)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train bag-of-words networks on the model's embeddings and head; do they generalise?"""
    from pipeline.experiments.shallow import ShallowOptions
    from pipeline.experiments.shallow import shallow as train_all

    options = ShallowOptions(**given(taught=taught, held_out=held_out, runs=runs, seed=seed))
    results = train_all(job(config, overrides, as_json), options)
    if as_json:
        print_json(to_document(results))
    else:
        _print_table(results)


def _print_table(results: ShallowResults) -> None:
    options = results.options
    networks = f"{options['runs']} network{'s' if options['runs'] > 1 else ''} each"
    title = f"Held-out subjects whose target answer follows, {networks}"
    table = plain_table(title)
    for heading in ("relation", "mapping", "words"):
        table.add_column(heading)
    for heading in ("learnt", "follows", "of three", "paper"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in results.mappings:
        words = f"{', '.join(row.sources)} → {', '.join(row.targets)}"
        table.add_row(
            row.relation,
            row.mapping,
            words,
            figure(row.learnt.mean, 2),
            *(spread(score.mean, score.std) for score in (row.success, row.of_three)),
            figure(row.paper),
        )
    table.caption = (
        f"{options['taught']:,} subjects with both prompts, {options['held_out']:,} with the source prompt "
        "only. learnt: trained prompts answered right. follows: the right target leads all tokens that "
        "compete; of three: the mapping's three targets (by chance 0.333)"
    )
    show_table(table)
