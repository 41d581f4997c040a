"""`lincorr edit`: teach a copy of the model new source facts; do the targets follow?"""

import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from lincorr.scores.documents import to_document
from lincorr.scores.experiments import EditResults, EditScores
from pipeline.cli.flags import LARGEST_SEED, with_settings
from pipeline.cli.output import JsonFlag, figure, given, interval, plain_table, print_json, show_table, spread
from pipeline.cli.settings import job
from pipeline.cli.study import print_generalisation

_CASES = 12


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("Input should be greater than 0, and finite")  # with 0, nothing is taught
    return value


@with_settings
def edit(
    config: str | None,
    overrides: dict[str, str],
    *,
    edits: Annotated[
        int | None,
        typer.Option("--edits", help="Facts to teach, of each relation. Default: 32.", min=1),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of their choice. Default: 0.", min=0, max=LARGEST_SEED)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            help="Step size of the training. Default: .001.",
            min=0.0,
            callback=_above_zero,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="Train until the answer has this share of the softmax over the source's answers. "
            "Default: .9.",
            min=0.0,
            max=1.0,
            callback=_above_zero,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="At most so many steps for a fact. Default: 20.", min=1)
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", help="Train so many of the last layers. Default: all.", min=1)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Teach a copy of the model new source facts; do its target answers follow, as W says?"""
    from pipeline.experiments.edit import EditOptions
    from pipeline.experiments.edit import edit as edit_facts

    options = EditOptions(
        **given(edits=edits, seed=seed, rate=rate, steps=steps, layers=layers, confidence=confidence)
    )
    results = edit_facts(job(config, overrides, as_json), options)
    if as_json:
        print_json(to_document(results))
    else:
        _print_tables(results)


def _print_tables(results: EditResults) -> None:
    edited = results.relations
    for table in (_rates(edited), _controls(edited), _predictors(edited), *map(_cases, edited)):
        show_table(table)
    print_generalisation(results.across, list(edited[0].fits))


def _rates(edited: Sequence[EditScores]) -> Table:
    figures = ("edits", "took", "right", "95 %", "before", "gained", "random", "same")
    table = plain_table("does the target follow from the source that was taught?", ["relation"], figures)
    for one in edited:
        table.add_row(
            one.relation,
            str(one.edits),
            figure(one.took, 2),
            figure(one.success, 2),
            interval(one.success_low, one.success_high, 2),
            *(figure(share, 2) for share in (one.before, one.gained, one.random, one.unchanged)),
        )
    table.caption = (
        "right: the target's answer follows from what was taught; before: it was right before; gained: right "
        "of those that were wrong before; same: the answer did not change"
    )
    return table


def _controls(edited: Sequence[EditScores]) -> Table:
    figures = ("steps", "moved", "changed", "learnt")
    table = plain_table("subjects that the edit is not about", ["relation"], figures)
    for one in edited:
        unrelated = (one.unrelated.moved, one.unrelated.changed, one.unrelated.learnt)
        table.add_row(one.relation, figure(one.steps, 1), *(figure(share, 2) for share in unrelated))
    table.caption = (
        "moved: how far their target logits moved, those of the edited subject being 1; changed: target "
        "answers that changed; learnt: source answers that are now what was taught"
    )
    return table


def _predictors(edited: Sequence[EditScores]) -> Table:
    figures = ("movement r", "other edit", "top", "right", "else", "AUC", "rho")
    table = plain_table("W as predictor", ["relation", "fit"], figures)
    for one in edited:
        for name, fit in one.fits.items():
            movement = spread(fit.movement_r, fit.movement_r_std, 2)
            shares = (fit.top_is_right, fit.success_if_top_is_right, fit.success_if_not)
            others = (fit.movement_r_other_edit, *shares, fit.auc, fit.spearman)
            table.add_row(one.relation, name, movement, *(figure(value, 2) for value in others))
    table.caption = (
        "movement r: of the target logits' movement with that of the source logits times W; other edit: the "
        "same with another edit's movement. top: W's strongest target of what was taught is right; right: "
        "edits that generalise then, and else. AUC: of W_ref, generalised against hallucinated; rho: of "
        "W_ref with how far the right answer moved beyond the others"
    )
    return table


def _cases(one: EditScores) -> Table:
    """The paper's table of cases, with the weights of the fit that reads best."""
    fit = list(one.fits)[-1]
    title = f"{one.relation}: cases (✓ generalised, ✗ hallucinated), W of {fit}"
    table = plain_table(title, ["taught"])
    for heading in ("right", "before", "after"):
        table.add_column(heading)
    for heading in ("W_ref", "W_gen", "W_max"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in one.cases[:_CASES]:
        of = case.weights[fit]
        weights = (f"{weight:.2g}" for weight in (of.reference, of.generalised, of.largest))
        right = ", ".join(token.strip() for token in case.right)
        after = f"{case.after.strip()} {'✓' if case.generalised else '✗'}"
        words = (case.source.strip(), right, case.before.strip(), after)
        table.add_row(*words, *weights)
    return table
