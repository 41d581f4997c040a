"""A study on the terminal: one table of r, one of hit rates, and the paper's figures beside ours."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.output import figure
from pipeline.pages.scores import DIRECTIONS, RANKS, hit

Json = dict[str, Any]

_SHORT = {
    "domain": "domain",
    "domain-ridge": "d.-ridge",
    "vocabulary": "vocab.",
    "vocabulary-ridge": "v.-ridge",
}


def print_study(document: Json) -> None:
    """Print what a study found: its relations by family, and what was set beside."""
    console = Console()
    study = document["study"]
    by_name = {relation["name"]: relation for relation in document["relations"]}
    families = [(family, [by_name[name] for name in family["relations"]]) for family in study["families"]]
    fits = [
        name for name in _SHORT if any(name == f["name"] for family, _ in families for f in family["fits"])
    ]
    console.print(_correlations(families, fits))
    if any(fit["hits"] for relation in document["relations"] for fit in relation["fits"]):
        for direction in DIRECTIONS:
            console.print(_hits(families, fits, direction))
    if study["paraphrases"]:
        console.print(_paraphrases(study["paraphrases"], fits))
    if study["paper"] is not None:
        console.print(_paper(study["paper"], fits))
    for matrix in study["matrices"]:
        console.print(_matrix_line(matrix), highlight=False, markup=False)
    for fit, found in (study["generalisation"] or {}).items():
        if found["hit1"] is not None:
            console.print(
                f"Spearman's rho of generalisation over {found['relations']} relations ({fit}): with hit@1 "
                f"{figure(found['hit1'], 2)}, with r {figure(found['r'], 2)}",
                highlight=False,
                markup=False,
            )


def _table(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _fit(relation: Json, name: str) -> Json:
    return next((fit for fit in relation["fits"] if fit["name"] == name), {})


def _correlations(families: Sequence[tuple[Json, list[Json]]], fits: Sequence[str]) -> Table:
    headings = [*(_SHORT[name] for name in fits), "shuffled", "unrelated", "identity", "mean logit"]
    table = _table("mean held-out Pearson r of each fit, and without the relation", "relation", headings)
    best = fits[-1]
    for family, relations in families:
        for relation in relations:
            cells = [_plus_minus(_fit(relation, name)) for name in fits]
            controls = _fit(relation, best)
            cells += [figure(controls.get(key), 2) for key in ("r_shuffled", "r_unrelated")]
            cells += [figure(relation["identity"]["r"], 2), figure(controls.get("r_mean_logit"), 2)]
            table.add_row(Text(relation["name"]), *cells)
        cells = [_plus_minus(_fit(family, name)) for name in fits]
        controls = _fit(family, best)
        cells += [figure(controls.get(key), 2) for key in ("r_shuffled", "r_unrelated")]
        cells += [figure(family["r_identity"], 2), figure(controls.get("r_mean_logit"), 2)]
        table.add_row(_total(family), *cells, style="bold", end_section=True)
    table.caption = (
        "± over output columns, in bold lines over relations; the four columns on the right are r where the "
        f"relation cannot help ({best})"
    )
    return table


def _total(family: Json) -> Text:
    return Text(f"{family['family']} ({len(family['relations'])})")


def _plus_minus(fit: Json) -> str:
    if not fit:
        return "–"
    return f"{figure(fit['r'], 2)} ± {figure(fit['r_std'], 2)}"


def _hits(families: Sequence[tuple[Json, list[Json]]], fits: Sequence[str], direction: str) -> Table:
    table = _table(
        f"hit@1 / 3 / 5, {direction}", "relation", [*(_SHORT[name] for name in fits), "chance@1", "of"]
    )
    for family, relations in families:
        for relation in relations:
            found = next((fit["hits"][direction] for fit in relation["fits"] if fit["hits"]), None)
            if found:
                cells = [_three(_fit(relation, name), direction) for name in fits]
                table.add_row(
                    Text(relation["name"]), *cells, figure(found["chance"]["1"], 2), f"{found['of']:,}"
                )
        known = next((fit["hits"][direction] for fit in family["fits"] if fit["hits"][direction]), None)
        if known:
            cells = [_three(_fit(family, name), direction) for name in fits]
            total = [figure(known["chance"]["1"], 2), f"{known['of']} rel."]
            table.add_row(_total(family), *cells, *total, style="bold", end_section=True)
    return table


def _three(fit: Json, direction: str) -> str:
    if not fit:
        return "–"
    return " ".join(figure(hit(fit, direction, rank), 2).removeprefix("0") for rank in RANKS)


def _paraphrases(rows: Sequence[Json], fits: Sequence[str]) -> Table:
    headings = ["wordings", *(f"{what} {_SHORT[name]}" for name in fits for what in ("r", "hit@1"))]
    table = _table("over several wordings of one relation", "relation", headings)
    for row in rows:
        cells = []
        for name in fits:
            fit = _fit(row, name)
            for what in ("r", "hit1"):
                found = fit.get(what)
                cells.append(f"{figure(found['mean'], 2)} ± {figure(found['std'], 2)}" if found else "–")
        table.add_row(Text(row["relation"]), str(len(row["wordings"])), *cells)
    return table


def _paper(rows: Sequence[Json], fits: Sequence[str]) -> Table:
    headings = ["measure", "paper", "its model", *(_SHORT[name] for name in fits)]
    table = _table("beside the paper's figures", "relation", headings)
    for row in rows:
        slip = " (!)" if row["note"].startswith("slip") else ""
        table.add_row(
            Text(row["relation"]),
            Text(row["measure"]),
            figure(row["paper"], 2) + slip,
            Text(f"{row['model']}, {row['table']}"),
            *(figure(row["ours"].get(name), 2) for name in fits),
        )
    table.caption = (
        "another model than the paper's is not expected to have its figures; (!) a likely slip of the paper"
    )
    return table


def _matrix_line(matrix: Json) -> str:
    known = [r for row in matrix["r"] for r in row if r is not None]
    mean = sum(known) / len(known) if known else None
    return (
        f"{matrix['family']}, every prompt to every other ({matrix['fit']}): mean r {figure(mean, 2)} over "
        f"{len(known):,} pairs of {len(matrix['templates'])} prompts"
    )
