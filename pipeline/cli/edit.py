"""`lincorr edit`: teach a copy of the model new source facts; do the targets follow?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.flags import with_settings
from pipeline.cli.output import JsonFlag, figure, given, print_json
from pipeline.cli.settings import job

_CASES = 12


@with_settings
def edit(
    config: Path | None,
    overrides: dict[str, str],
    *,
    edits: Annotated[
        int | None,
        typer.Option("--edits", help="Facts to teach, of each relation. Default: 32.", min=1),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of their choice. Default: 0.", min=0)
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Step size of the training; see docs/editing.md.", min=0.0)
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="Train until the answer has this share of the softmax over the source's answers.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="At most so many steps for a fact.", min=1)
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
    document = edit_facts(job(config, overrides, as_json), options)
    if as_json:
        print_json(document)
    else:
        _print_tables(document)


def _print_tables(document: dict[str, Any]) -> None:
    from rich.console import Console

    from pipeline.cli.study import print_generalisation

    console = Console()
    edited = document["relations"]
    for table in (_rates(edited), _controls(edited), _predictors(edited), *map(_cases, edited)):
        console.print(table)
    print_generalisation(document["across"], list(edited[0]["fits"]), console)


def _rates(edited: list[dict[str, Any]]) -> Any:
    table = _table("does the target follow from the source that was taught?")
    for heading in ("edits", "took", "right", "95 %", "before", "gained", "random", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for relation in edited:
        table.add_row(
            relation["relation"],
            str(relation["edits"]),
            figure(relation["took"], 2),
            figure(relation["success"], 2),
            f"{figure(relation['success_low'], 2)}–{figure(relation['success_high'], 2)}",
            *(figure(relation[key], 2) for key in ("before", "gained", "random", "unchanged")),
        )
    table.caption = (
        "right: the target's answer follows from what was taught; before: it was right before; gained: right "
        "of those that were wrong before; same: the answer is what it was"
    )
    return table


def _controls(edited: list[dict[str, Any]]) -> Any:
    table = _table("what became of subjects that the edit is not about")
    for heading in ("steps", "moved", "changed", "learnt"):
        table.add_column(heading, justify="right", no_wrap=True)
    for relation in edited:
        unrelated = (figure(relation["unrelated"][key], 2) for key in ("moved", "changed", "learnt"))
        table.add_row(relation["relation"], figure(relation["steps"], 1), *unrelated)
    table.caption = (
        "moved: how far their target logits moved, those of the edited subject being 1; changed: target "
        "answers that are others now; learnt: source answers that are now what was taught"
    )
    return table


def _predictors(edited: list[dict[str, Any]]) -> Any:
    table = _table("W as predictor")
    table.add_column("fit", no_wrap=True)
    for heading in ("movement r", "other edit", "top", "right", "else", "AUC", "rho"):
        table.add_column(heading, justify="right", no_wrap=True)
    keys = ("top_is_right", "success_if_top_is_right", "success_if_not", "auc", "spearman")
    for relation in edited:
        for name, found in relation["fits"].items():
            movement = f"{figure(found['movement_r'], 2)} ± {figure(found['movement_r_std'], 2)}"
            other = figure(found["movement_r_other_edit"], 2)
            figures = (figure(found[key], 2) for key in keys)
            table.add_row(relation["relation"], name, movement, other, *figures)
    table.caption = (
        "movement r: of the target logits' movement with that of the source logits times W; other edit: the "
        "same with another edit's movement. top: W's strongest target of what was taught is right; right: "
        "edits that generalise then, and else. AUC: of W_ref, generalised against hallucinated; rho: of "
        "W_ref with how far the right answer moved beyond the others"
    )
    return table


def _cases(relation: dict[str, Any]) -> Any:
    """The paper's table of cases, with the weights of the fit that reads best."""
    from rich.text import Text

    fit = list(relation["fits"])[-1]
    table = _table(f"{relation['relation']}: cases (✓ generalised, ✗ hallucinated), W of {fit}", "taught")
    for heading in ("right", "before", "after"):
        table.add_column(heading)
    for heading in ("W_ref", "W_gen", "W_max"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in relation["cases"][:_CASES]:
        weights = (f"{case['weights'][fit][key]:.2g}" for key in ("reference", "generalised", "largest"))
        words = (case["source"].strip(), ", ".join(t.strip() for t in case["right"]), case["before"].strip())
        after = f"{case['after'].strip()} {'✓' if case['generalised'] else '✗'}"
        table.add_row(*(Text(word) for word in (*words, after)), *weights)
    return table


def _table(title: str, first: str = "relation") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    return table
