"""`lincorr resilience`: maps of a model before training, tested on the model after."""

from typing import Annotated

import typer
from rich.table import Table

from lincorr.paths import as_meant
from lincorr.scores.documents import to_document
from lincorr.scores.experiments import ResilienceResults
from lincorr.scores.relation_scores import INFLUENCED_TARGET
from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, plain_table, print_json, show_table
from pipeline.cli.settings import job


@with_settings
def resilience(
    config: str | None,
    overrides: dict[str, str],
    *,
    after: Annotated[
        str,
        typer.Option(
            "--after",
            help="The model after: hub id, folder, .gguf file, or a LoRA adapter's local folder.",
        ),
    ],
    before: Annotated[
        str | None,
        typer.Option("--before", help="The model before, as --model. Default: that of the settings."),
    ] = None,
    after_store: Annotated[
        str | None,
        typer.Option("--after-store", help="Its store. Default: runs/<model after>.zarr."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit W on a model before and after training, and test each on both: does it outlive the training?"""
    from pipeline.experiments.resilience import ResilienceOptions
    from pipeline.experiments.resilience import resilience as compare

    if before is not None:
        overrides = overrides | {"model.source": before}
    options = ResilienceOptions(
        as_meant(after, "--after"), after_store and as_meant(after_store, "--after-store")
    )
    results = compare(job(config, overrides, as_json), options)
    if as_json:
        print_json(to_document(results))
    else:
        _print_tables(results)


_PAIRS = (("before", "before"), ("before", "after"), ("after", "before"), ("after", "after"))


def _print_tables(results: ResilienceResults) -> None:
    show_table(_scores(results))
    show_table(_weights(results))


def _scores(results: ResilienceResults) -> Table:
    fitted, tested = results.subjects
    title = f"held-out r: A {results.before.model}, B {results.after.model}"
    table = plain_table(title, ["relation", "fit"], ("A→A", "A→B", "B→A", "B→B", "paper"))
    for relation in results.relations:
        for fit in relation.fits:
            r = (figure(fit.r(*pair)) for pair in _PAIRS)
            table.add_row(relation.relation, fit.name, *r, figure(relation.paper))
    table.caption = (
        f"A→B: fitted to {fitted:,} subjects of A, tested on {tested:,} others of B. paper: its A→B, of "
        "Llama 3 8B and the post-trained model, by the domain's columns"
    )
    return table


def _weights(results: ResilienceResults) -> Table:
    table = plain_table("the two W", ["relation", "fit"], ("cosine", "chance", "hit@1 A", "hit@1 B"))
    for relation in results.relations:
        for fit in relation.fits:
            hits = (
                None if found is None else found.hit(INFLUENCED_TARGET, 1)
                for found in (fit.hits.before, fit.hits.after)
            )
            cells = (fit.cosine, fit.cosine_permuted, *hits)
            table.add_row(relation.relation, fit.name, *(figure(cell, 2) for cell in cells))
    table.caption = "cosine: between the two; chance: the same, each target beside another's column"
    return table
