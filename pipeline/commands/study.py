"""`lincorr study`: many relations of one model, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from lincorr.errors import BadInput
from pipeline.commands.job import settings_of
from pipeline.commands.output import Json, print_json
from pipeline.flags import with_settings

_GROWTH_HELP = (
    "Relations to follow along the number of subjects: names with commas, all, or none. Default: all."
)


@with_settings
def study(
    config: Path | None,
    overrides: dict[str, str],
    *,
    compare_paper: Annotated[
        bool, typer.Option("--compare-paper", help="Set the paper's figures beside those found.")
    ] = False,
    paraphrases: Annotated[
        bool, typer.Option("--paraphrases", help="Ask every relation in its further wordings, too.")
    ] = False,
    growth: Annotated[str, typer.Option("--growth", help=_GROWTH_HELP)] = "all",
    as_json: Json = False,
) -> None:
    """Study many relations in one pass, side by side; all of them where `relations` names none.

    Does only what the store lacks, and writes pages, plots and tables like run.
    """
    from pipeline.console import Narrator
    from pipeline.exports import write_results
    from pipeline.run import Run
    from pipeline.study import chosen_relations, names_of, study_of

    settings = chosen_relations(settings_of(config, overrides), paraphrases=paraphrases)
    job = Run(settings, Narrator(quiet=as_json))
    document = study_of(job, growth=_followed(growth, names_of(job)), compare=compare_paper)
    page = write_results(document, settings.report_folder())
    if as_json:
        print_json(document)
        return
    from rich.console import Console

    from pipeline.study_tables import print_study

    print_study(document)
    Console().print(f"Report: {page}", soft_wrap=True, markup=False, highlight=False)


def _followed(growth: str, relations: list[str]) -> list[str] | None:
    """Return the relations whose growth is asked for; None is all of them."""
    if growth in ("all", "none"):
        return None if growth == "all" else []
    names = [name.strip() for name in growth.split(",")]
    for name in names:
        if name not in relations:
            raise BadInput(
                f"--growth: {name!r} is no relation of this study; name some of relations, all or none"
            )
    return names
