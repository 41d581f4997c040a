"""`lincorr flips`: does W's direction do anything in the model?"""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from lincorr.scores.experiments import Flips, FlipScores
from pipeline.cli.flags import LARGEST_SEED, with_settings
from pipeline.cli.output import JsonFlag, brief_share, figure, given, plain_table, print_json, say, show_table
from pipeline.cli.settings import job

_HEADINGS = {
    "map": ("W", "along W, at the last token, as long as the stream"),
    "map-hidden": ("W, hidden", "less what the read-out sees"),
    "other": ("other", "along W for a third answer, a control"),
    "random": ("random", "a control"),
    "direct": ("head's row", "no map at all"),
    "subject": ("subject", "another subject's state in its place"),
}


@with_settings
def flips(
    config: str | None,
    overrides: dict[str, str],
    *,
    subjects: Annotated[
        int | None, typer.Option("--subjects", help="Subjects at most. Default: 32.", min=1)
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of their choice. Default: 0.", min=0, max=LARGEST_SEED)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Change states along W's direction of another answer, and count the answers that become it."""
    from pipeline.experiments.flips import FlipOptions
    from pipeline.experiments.flips import flips as count

    found = count(job(config, overrides, as_json), FlipOptions(**given(subjects=subjects, seed=seed)))
    if as_json:
        print_json(found)
        return
    for relation in found:
        _print_relation(relation)


def _print_relation(found: FlipScores) -> None:
    say(
        f"{found.relation}: of {found.known} sources with a known target as subjects, the model answers "
        f"{figure(found.right, 2)} right, and the map predicts its answer for {figure(found.faithful, 2)}; "
        f"{found.subjects} of the right ones are changed. Figures: share whose answer becomes the wanted "
        "one, and in brackets share whose answer changes.",
        wrap=True,
    )
    if not found.subjects:
        say("Nothing is changed: fewer than three answers are right")
        return
    show_table(_table("the source's state, read out", "norm", found.readout))
    table = _table("the target's prompt, in the model", "layer", found.layers)
    shown = {**found.readout[0].wanted, **found.layers[0].wanted}
    table.caption = ". ".join(": ".join(words) for kind, words in _HEADINGS.items() if kind in shown)
    show_table(table)


def _table(title: str, unit: str, rows: Sequence[Flips]) -> Table:
    kinds = list(rows[0].wanted)
    table = plain_table(f"flips: {title}", (), [unit, *(_HEADINGS[kind][0] for kind in kinds)])
    for row in rows:
        cells = (f"{brief_share(row.wanted[kind])} ({brief_share(row.changed[kind])})" for kind in kinds)
        table.add_row(f"{row.at:g}", *cells)
    return table
