"""`lincorr gradients`: do the gradients of the logits follow W, as the logits do?"""

from collections.abc import Sequence
from typing import Annotated

import typer

from lincorr.scores.experiments import GradientScores
from pipeline.cli.flags import LARGEST_SEED, with_settings
from pipeline.cli.output import JsonFlag, figure, given, plain_table, print_json, show_table, spread
from pipeline.cli.settings import job


@with_settings
def gradients(
    config: str | None,
    overrides: dict[str, str],
    *,
    subjects: Annotated[
        int | None, typer.Option("--subjects", help="Held-out subjects. Default: 8.", min=1)
    ] = None,
    targets: Annotated[
        int | None, typer.Option("--targets", help="Target answers. Default: 8.", min=2)
    ] = None,
    entries: Annotated[
        int | None,
        typer.Option("--entries", help="Entries of the layers' weights. Default: 100,000.", min=2),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of their choice. Default: 0.", min=0, max=LARGEST_SEED)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Correlate gradients of target logits with W times the gradients of source logits."""
    from pipeline.experiments.gradients import GradientOptions
    from pipeline.experiments.gradients import gradients as correlate

    options = GradientOptions(**given(subjects=subjects, targets=targets, entries=entries, seed=seed))
    found = correlate(job(config, overrides, as_json), options)
    if as_json:
        print_json(found)
    else:
        _print_table(found)


def _print_table(found: Sequence[GradientScores]) -> None:
    options = found[0].options
    figures = ("r", "other target", "paper")
    table = plain_table("gradient correlation", ["relation", "fit"], figures)
    for relation in found:
        for fit in relation.fits:
            table.add_row(
                relation.relation,
                fit.name,
                spread(fit.r, fit.r_std),
                figure(fit.r_other_target),
                figure(relation.paper, 2),
            )
    table.caption = (
        f"over {options['entries']:,} entries of the layers' weights; {options['subjects']} held-out "
        f"subjects, {options['targets']} targets at most. other target: with what W makes of the source's "
        "gradients for another target. paper: Llama 3 8B"
    )
    show_table(table)
